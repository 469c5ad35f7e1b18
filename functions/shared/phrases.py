"""What a citizen's sentence is about: which letters may name a thing, and which only ask, describe or connect.

"기름 묻은 피자박스는 어떻게 버려요?" asks ("어떻게 버려요"), describes ("기름 묻은"), connects ("는") and names
("피자박스"). Korean names things last: in "칫솔 케이스" the thing is a case, so what follows a name weighs far more
than what stands before. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from functions.shared.conditions import find
from functions.shared.hangul import canonical, sound

#: What a letter does in the sentence. THING letters must be accounted for by the name that is found; a VERB that is
#: neither throwing away nor using something casts doubt; the rest is expected around a name.
THING, FILLER, CONDITION, PARTICLE, ASKING, VERB = range(6)

LONGEST_NAME = 18  # letters; no name in the corpus is longer
_LONGEST_TEXT = 80  # letters of a question that are looked at
_WINDOWS = 8  # phrases that are compared letter by letter

#: How much of the certainty is lost when something unexplained follows the name, is joined to its front, stands
#: elsewhere.
_AFTER, _JOINED, _LOOSE = 0.8, 0.4, 0.25

_BIN = (
    r"(?:음식물|음쓰|일반|종량제|재활용|플라스틱|비닐|종이팩|종이|캔|고철|불연성|불연|스티로폼|유리병|유리|의류|"
    r"대형|병)"
)
_HOLDER = r"(?:쓰레기|봉지|마대|수거함|폐기물|류|함|통)"
_MAY = r"(?:\s?(?:되|돼|될|하)[가-힣]*)?"
_ASKING = (
    rf"{_BIN}\s?{_HOLDER}?\s?(?:으로|로|에다가?|에)\s?(?:그냥\s?|같이\s?|함께\s?)?"
    rf"(?:버[려리릴렸]|넣|배출|내놓|내도|분류|가야|가나|담)[가-힣]*{_MAY}",
    rf"{_BIN}\s?{_HOLDER}?\s?(?:인가요?|인지|이야|야|에요|이에요|예요|이예요|죠|입니까|맞나요?|맞아요?)",
    rf"(?:아니면|or)\s?{_BIN}\s?{_HOLDER}?",
    rf"(?<=[가-힣]\s){_BIN}\s?(?:쓰레기|음쓰|일쓰)?\s?\?",
    r"어떻게|어떡[가-힣]*|어디(?:에다|다가|에|다|로|서)?|어느\s?(?:쪽|통)|뭘로|무엇으로|뭐로|왜",
    r"(?:분리\s?)?(?:수거함|수거|배출|재활용|처리|처분|폐기|반납)\s?(?:방법|법|하는\s?법|이|을|를|은)?\s?"
    r"(?:하[가-힣]*|되[가-힣]*|돼[가-힣]*|될[가-힣]*|할[가-힣]*|해[가-힣]*|됩[가-힣]*|가능[가-힣]*)?",
    rf"(?:갖다\s?|내다\s?|그냥\s?)?버(?:려|리|릴|렸|린|림|립)[가-힣]*{_MAY}",
    rf"(?:넣어|넣으|내놓|내다)[가-힣]*{_MAY}",
    r"(?:방법|법|곳|데|때)(?:을|이|은|는|가|좀)?(?=\s|$|알|좀|궁금)",
    r"알려\s?(?:줘|주[가-힣]*)|궁금[가-힣]*|가르쳐[가-힣\s]*|질문[가-힣]*|문의[가-힣]*|부탁[가-힣]*",
    r"(?:되나요?|돼요?|될까요?|되는지|되는건지|인가요?|인지|맞나요?|맞아요?|하나요?|할까요?|하죠|해요|해야[가-힣\s]*)",
    r"가능[가-힣]*|떼야\s?[가-힣]*|떼나요?|무료|공짜",
    r"\b(?:how|do|does|can|should|where|what|which|i|we|to|dispose|disposing|throw|away|out|recycle|recycling|recyclable)\b",
    r"\b(?:sort|put|goes|go|bin|of|the|a|an|is|are|it|this|my|in|with|for|trash|garbage)\b",
)
_FILLER = (
    # words of their own
    r"(?<![가-힣])(?:이거|이건|이것|저거|그거|그냥|혹시|그럼|요즘|우리|저희|제가|집에서|집에|방에|거실에|부엌에|있던|있는|없는|"
    r"오래된|오래|너무|완전|엄청|아주|정말|진짜|많이|조금|잔뜩|하나|한\s?개|여러\s?개|몇\s?개|다|산|쓴|헌|이런|저런|"
    r"빨간|하얀|흰|검은|까만|파란|노란|둥근|동그란|예쁜|무거운)(?![가-힣])",
    r"(?<=\s)같은|같은\s?거|(?:마트|가게|편의점)에|[가-힣]+(?:갛|렇|스럽)게",
    # using it up
    r"(?:배달\s?)?시켜\s?(?:서\s?)?먹(?:고|은|던)|(?:사|주문해?|해)\s?먹(?:고|은|던)",
    r"(?:먹|마시|쓰|신|입|사용하|담|들|넣|까|뜯|싸|받|남기)(?:고|던|었던|았던|는)|했던|하고",
    r"먹은|마신|쓰고\s?(?:난|남은)|사용한|받은|담긴|담은|담겨\s?있던|들어\s?있[던는]|들어간|들어가는|나온|생긴|남은|남아",
    r"다\s?(?:썼|먹었|마셨|봤)[가-힣]*|다\s?쓴\s?[거것]|시킨|배달\s?온|택배로\s?온",
    # what became of it
    r"안\s?쓰는|안\s?쓴|못\s?쓰게\s?된|벗겨진|구멍\s?났[가-힣]*|나갔[가-힣]*|안\s?(?:켜|나오|나와)[가-힣]*",
    r"(?:유통기한|유효기간|날짜)(?:이|가)?\s?(?:지난|지났[가-힣]*|넘[가-힣]*)",
)
_VERB = (
    r"[가-힣]*(?:았|었|했|났|갔|왔|됐|졌|렸|겼)(?:어|는데|다|음|네|고|지)[가-힣]*",
    r"[가-힣]+(?:어요|아요|해요|네요|는데요?|니다|려고|려면|으면|어서|아서|세요|까요|져요|여요|려요|커요|하게|지만|하기)(?![가-힣])",
)
_PARTICLE = re.compile(
    r"(?:이랑|랑|하고|에서|에다가?|에게|까지|부터|으로|로|에|은|는|이|가|을|를|도|만|의|와|과|요|이요|인데요?|이나|나|이라도|"
    r"들|거|것|건|걸|께)+$"
)
#: Particles wherever they stand, and "that one", which is no thing either.
_ALWAYS = ("은", "는", "을", "를", "에")
_THAT = ("거", "것", "건", "걸", "게", "거는")

_OTHER_TOPIC = re.compile(
    "|".join(
        (
            r"(?<!버리)(?<!리하)(?<!출하)(?<!기하)(?:는|은)\s?(?:방법|법)(?![가-힣]*\s?버)",
            r"(?:요리|접는|사는)\s?(?:법|방법)|사는\s?곳|사요|사나요|살\s?수|파나요|파는|구매|구입|판매|가격|얼마(?!나)|시세",
            r"날씨|추천|주가|주식|환율|뉴스|예약|가입|보험|요금|주문|당첨|맛집|여행(?!\s?(?:용|가방))|칼로리|제철",
            r"레시피|끓이|굽는|볶는|만드는|만들기|만들어|고치|수리|노래|영화|드라마|번역|뜻이|무슨\s?뜻",
            r"산책|훈련|키우는|공부|숙제|\b(?:weather|price|buy|recipe|capital of|translate)\b",
        )
    )
)
_DISPOSAL = re.compile(r"버[려리릴렸린]|배출|분리수거|재활용|수거함|폐기|쓰레기|\b(?:dispose|recycl|throw)")
_ROLES = tuple(
    (role, re.compile("|".join(f"(?:{pattern})" for pattern in patterns)))
    for role, patterns in ((ASKING, _ASKING), (FILLER, _FILLER), (VERB, _VERB))
)


@dataclass(frozen=True, slots=True)
class Span:
    """Letters `start` to `end` (exclusive) of a reading, and their key."""

    start: int
    end: int
    key: str


class Reading:
    """A question taken apart. Letters are what `hangul.normal` leaves; positions count them."""

    def __init__(self, text: str) -> None:
        self.text = canonical(text)
        #: Whether it speaks of throwing away at all; a bare name does not, and need not.
        self.disposal = disposal = bool(_DISPOSAL.search(self.text))
        #: About something else than throwing things away: "휴대폰 요금제 추천".
        self.other_topic = not disposal and bool(_OTHER_TOPIC.search(self.text))
        roles = self._roles()
        #: Something is done or said of the thing that has nothing to do with throwing it away: "컴퓨터가 느려요".
        self._told = not disposal and VERB in roles
        kept = [i for i, c in enumerate(self.text) if c.isalnum()][:_LONGEST_TEXT]
        self.letters = "".join(self.text[i] for i in kept)
        self.roles = [roles[i] for i in kept]
        for role in (
            CONDITION,
            ASKING,
            FILLER,
            VERB,
        ):  # no name but in what describes or asks: "플라스틱?", "음식물 쓰레기?"
            if THING not in self.roles:
                self.roles = [THING if r == role else r for r in self.roles]
        #: Whether a word starts at this letter; one more entry for the end.
        self.starts = [k == 0 or i != kept[k - 1] + 1 for k, i in enumerate(kept)] + [True]
        self._sounds = [sound(c) for c in self.letters]

    def _roles(self) -> list[int]:
        roles = [THING] * len(self.text)

        def mark(start: int, end: int, role: int) -> None:
            for i in range(start, end):
                if roles[i] == THING:
                    roles[i] = role

        asking, filler, verb = _ROLES
        for match in asking[1].finditer(self.text):
            mark(match.start(), match.end(), ASKING)
        said = "".join(" " if role == ASKING else c for c, role in zip(self.text, roles, strict=True))
        for axis, _, start, end in find(said):
            if axis != "material" or _stands_alone(said, start, end):
                mark(start, end, CONDITION)
        for role, pattern in (filler, verb):
            for match in pattern.finditer(self.text):
                mark(match.start(), match.end(), role)
        for start, end in _runs(self.text, roles):
            particle = _PARTICLE.search(self.text, start, end)
            if particle and self._connects(particle, start, roles):
                roles[particle.start() : end] = [PARTICLE] * (end - particle.start())
        return roles

    def _connects(self, particle: re.Match[str], start: int, roles: list[int]) -> bool:
        """Whether it is a particle there, and not the end of a word: 도 in "캔도", not in "냉장고 온도"."""
        if particle.group() in _THAT:
            return True
        if particle.start() - start > 1 or particle.group() in _ALWAYS:
            return particle.start() > start
        before = start - 1
        while before >= 0 and not self.text[before].isalnum():
            before -= 1
        return particle.start() > start and (before < 0 or roles[before] != THING)

    @cached_property
    def spans(self) -> list[Span]:
        """Every run of letters that could be a name as it stands, and every compound pulled apart ("피자 먹고 남은
        상자").
        """
        runs = [
            self.span(start, end)
            for start in range(len(self.letters))
            for end in range(start + 1, min(start + LONGEST_NAME, len(self.letters)) + 1)
        ]
        return runs + self.compounds

    @cached_property
    def compounds(self) -> list[Span]:
        """Two things with only descriptions in between, as one name: 피자 … 상자 → 피자상자."""
        words = [(start, end) for start, end, _ in _words(self.roles, self.starts)]
        return [
            Span(first[0], last[1], "".join(self._sounds[first[0] : first[1]] + self._sounds[last[0] : last[1]]))
            for first, last in pairwise(words)
            if first[1] < last[0] and set(self.roles[first[1] : last[0]]) <= {FILLER, CONDITION}
        ]

    def span(self, start: int, end: int) -> Span:
        return Span(start, end, "".join(self._sounds[start:end]))

    @cached_property
    def windows(self) -> list[Span]:
        """Whole words that could be a name with a typo: one to three in a row, with and without particles, last ones
        first.
        """
        found: dict[str, Span] = {}
        words = list(_words(self.roles, self.starts))
        for last in range(len(words) - 1, -1, -1):
            for first in range(last, max(last - 3, -1), -1):
                start, bare, full = words[first][0], words[last][1], words[last][2]
                if any(self.roles[i] in (ASKING, FILLER, VERB) for i in range(start, bare)):
                    break
                for end in {bare, full}:
                    span = self.span(start, end)
                    if len(span.key) >= 4 and end - start <= LONGEST_NAME:
                        found.setdefault(span.key, span)
        return list(found.values())[:_WINDOWS]

    def explained(self, span: Span) -> float:
        """How well a name at `span` accounts for the whole question, 0 to 1."""
        size = sum(role == THING for role in self.roles[span.start : span.end]) or span.end - span.start
        joined = self._joined(span.start)
        after = self._right(span.end)
        if span.end - span.start == 1 and (joined or (after and not self.starts[span.end])):
            return 0.0
        loose = sum(role in (THING, VERB) for role in self.roles[: span.start]) - joined
        loose += sum(role in (THING, VERB) for role in self.roles[span.end :]) - after
        beside = (
            0.6 if THING not in self.roles[span.start : span.end] else 0.0
        )  # it describes or asks, it does not name
        beside += 0.25 if self._told else 0.0
        doubt = _AFTER * _share(after, size) + _JOINED * _share(joined, size) + _LOOSE * _share(loose, size)
        if after and not self.disposal:  # "신발 사이즈": somebody wants to know something else
            beside += 0.2
        return max(0.0, 1 - doubt - beside)

    def headless(self, span: Span) -> bool:
        """Whether another thing follows that the name at `span` merely describes: "칫솔" in "칫솔 케이스"."""
        return self._right(span.end) > 0

    def _joined(self, start: int) -> int:
        """Unexplained letters written together with what begins at `start`."""
        i = start
        while i > 0 and not self.starts[i] and self.roles[i - 1] == THING:
            i -= 1
        return start - i

    def _right(self, end: int) -> int:
        """Letters of a further thing that what ends at `end` only describes."""
        count = 0
        for role in self.roles[end:]:
            if role == THING:
                count += 1
            elif role not in (FILLER, CONDITION):
                break
        return count


def _share(extra: int, size: int) -> float:
    return extra / (extra + size)


def _runs(text: str, roles: list[int]) -> Iterator[tuple[int, int]]:
    start = None
    for i in range(len(text) + 1):
        inside = i < len(text) and text[i].isalnum() and roles[i] == THING
        if inside and start is None:
            start = i
        elif not inside and start is not None:
            yield start, i
            start = None


def _words(roles: list[int], starts: list[bool]) -> Iterator[tuple[int, int, int]]:
    """Runs of THING letters within a word, as (start, end, end with the particle that follows)."""
    start = None
    for i in range(len(roles) + 1):
        inside = i < len(roles) and roles[i] == THING
        if start is not None and (not inside or starts[i]):
            full = i
            while full < len(roles) and roles[full] == PARTICLE and not starts[full]:
                full += 1
            yield start, i, full
            start = None
        if inside and start is None:
            start = i


_MADE_OF = re.compile(r"(?:으?로\s?(?:된|만든|되어)|재질|제)?(?![가-힣a-z])")


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a material is said as a word of its own ("유리 그릇") and not as part of a name ("유리컵")."""
    return not text[start - 1 : start].isalnum() and bool(_MADE_OF.match(text, end))
