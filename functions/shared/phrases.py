"""What a citizen's sentence is about: which letters may name a thing, and which only ask, describe or connect.

"기름 묻은 피자박스는 어떻게 버려요?" asks ("어떻게 버려요"), describes ("기름 묻은"), connects ("는") and names
("피자박스"). Korean names things last: in "칫솔 케이스" the thing is a case, so what follows a name weighs far more
than what stands before. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from functions.shared import topics
from functions.shared.conditions import find
from functions.shared.hangul import canonical, sound
from functions.shared.parts import Parts

#: What a letter does in the sentence. THING letters must be accounted for by the name that is found; a VERB that is
#: neither throwing away nor using something casts doubt; the rest is expected around a name.
THING, FILLER, CONDITION, PARTICLE, ASKING, VERB = range(6)

LONGEST_NAME = 18  # letters; longer names of the corpus are found by their meaning only
_LONGEST_TEXT = 80  # letters of a question that are looked at
_WINDOWS = 6  # phrases that are compared letter by letter

_BIN = (
    r"(?:음식물|음쓰|일반|종량제|재활용|플라스틱|비닐|종이팩|종이|캔|고철|불연성|불연|스티로폼|유리병|유리|의류|"
    r"대형|병)"
)
_HOLDER = r"(?:쓰레기|봉지|마대|수거함|폐기물|류|함|통)"
_MAY = r"(?:\s?(?:되|돼|될|하)[가-힣]*)?"
_ASKING = (
    rf"{_BIN}\s?{_HOLDER}?\s?(?:으로|로|에다가?|에)\s?(?:그냥\s?|같이\s?|함께\s?)?"
    rf"(?:버[려리릴렸]|넣|배출|내놓|내도|분류|가야|가나|담(?!은|긴|겨))[가-힣]*{_MAY}",
    rf"{_BIN}\s?{_HOLDER}?\s?(?:인가요?|인지|이야|야|에요|이에요|예요|이예요|죠|입니까|맞나요?|맞아요?)",
    rf"(?<![가-힣]){_BIN}\s?{_HOLDER}?\s?(?:아님|아니[가-힣]*|아닌[가-힣]*|임(?![가-힣])|행(?![가-힣])|맞[가-힣]*)",
    rf"(?:아니면|or)\s?{_BIN}\s?{_HOLDER}?",
    rf"(?<=[가-힣]\s){_BIN}\s?(?:쓰레기|음쓰|일쓰)?\s?\?",
    r"어떻게|어떡[가-힣]*|어디(?:에다|다가|에|다|로|서)?|어느\s?(?:쪽|통)|뭘로|무엇으로|뭐로|왜",
    r"(?:분리\s?)?(?:수거함|수거|배출|재활용|처리|처분|폐기|반납)\s?(?:방법|법|하는\s?법|이|을|를|은)?\s?"
    r"(?:하[가-힣]*|되[가-힣]*|돼[가-힣]*|될[가-힣]*|할[가-힣]*|해[가-힣]*|됩[가-힣]*|가능[가-힣]*)?",
    r"(?:버|벌)[리이]는\s?(?:방[법볍벚벆뱁밥곧벙]|벙법|[법볍벚벆뱁곧곳데])(?![가-힣])",
    rf"(?:갖다\s?|내다\s?|그냥\s?)?버(?:려|리|릴|렸|린|림|립)[가-힣]*{_MAY}",
    rf"(?:넣어|넣으|내놓|내놔|내다)[가-힣]*{_MAY}",
    r"(?<![가-힣])(?:한꺼번에|한\s?번에|둘\s?다)(?![가-힣])|(?:같이|함께)(?=\s?(?:버|내|넣|신고|배출|처리))",
    r"(?:방법|법|곳|데|때)(?:을|이|은|는|가|좀)?(?=\s|$|알|좀|궁금)",
    r"알려\s?(?:줘|주[가-힣]*)|궁금[가-힣]*|가르쳐[가-힣\s]*|질문[가-힣]*|문의[가-힣]*|부탁[가-힣]*",
    r"(?:되나요?|돼요?|될까요?|되는지|되는건지|인가요?|인지|맞나요?|맞아요?|하나요?|할까요?|하죠|해요|해야[가-힣\s]*)",
    r"가능[가-힣]*|떼야\s?[가-힣]*|떼나요?|무료|공짜",
    r"(?<![가-힣])(?:따로(?:따로)?|각각|별도로)(?![가-힣])|(?<=\s)부분(?:만|은|을|도)?(?![가-힣])",
    r"\b(?:how|do|does|can|should|where|what|which|i|we|to|dispose|disposing|throw|away|out|recycle|recycling|recyclable)\b",
    r"\b(?:sort|put|goes|go|bin|of|the|a|an|is|are|it|this|my|in|with|for|trash|garbage)\b",
)
_COUNT = (
    r"(?:[0-9]+|(?<![가-힣])(?:한|두|세|네|몇|여러|반))\s?(?:봉지|봉다리|통|박스|개|병|장|권|줄|움큼|웅큼|주먹|포|캔|컵|판|단|다발|묶음|세트|켤레|벌|마리|모|"
    r"자루|팩|알|대|쌍|조각|그릇|구|인치|키로|리터|년|달|번|살|세대|인용|인분|호|평)\s?(?:짜리|정도|이나|째|씩|반)?(?![가-힣]*(?:통|함|판|병)$)"
)
_FILLER = (
    _COUNT,
    # words of their own
    r"(?<![가-힣])(?:이거|이건|이것|저거|그거|그냥|혹시|그럼|요즘|우리|저희|제가|집에서|집에|방에|거실에|부엌에|있던|있는|없는|"
    r"오래된|오래|너무|완전|엄청|아주|정말|진짜|많이|조금|잔뜩|하나|한\s?개|여러\s?개|몇\s?개|다|산|쓴|헌|이런|저런|"
    r"빨간|하얀|흰|검은|까만|파란|노란|둥근|동그란|예쁜|무거운)(?![가-힣])",
    r"(?<=\s)같은|같은\s?거|(?:마트|가게|편의점)에|[가-힣]+(?:갛|렇|스럽)게",
    # the label of a fee, which is no thing
    r"(?:대형\s?)?(?:폐기물|배출|수거)\s?(?:용\s?)?스티커|"
    r"스티커\s?(?:얼마|사야|사서(?=\s?붙)|사는\s?(?:곳|데)|붙여야|붙이(?=[고면]\s?(?:서\s?)?(?:내|버|배출))|값|가격|끊)[가-힣]*|"
    r"disposal stickers?",
    # using it up
    r"(?:배달\s?)?시켜\s?(?:서\s?)?먹(?:고|은|던)|(?:사|주문해?|해)\s?먹(?:고|은|던)",
    r"(?:먹|마시|쓰|신|입|사용하|담|들|넣|까|뜯|싸|받|남기)(?:고\s?(?:난|남은)(?![가-힣])|고|던|었던|았던|는)|했던|하고",
    r"먹은|마신|사용한|받은|담긴|담은|담겨\s?있던|들어\s?있[던는]|들어간|들어가는|나온|생긴|남은|남아",
    r"다\s?(?:썼|먹었|마셨|봤)[가-힣]*|다\s?쓴\s?[거것]|시킨|배달\s?온|택배로\s?온",
    # what became of it
    r"(?:배터리|건전지|밧데리|전원|불|소리|화면|충전|작동|전기|바람)(?:이|가|도|은)?\s?(?:이?\s?나[가갔감]|안\s?[가-힣]+|다\s?(?:됨|된|됐|닳)[가-힣]*|없[가-힣]*|방전[가-힣]*|"
    r"꺼[가-힣]*|못\s?[가-힣]+)",
    # second-hand trade that came to nothing, and a child's size, which is not the thing's
    r"(?<![가-힣])당근(?:(?:\s?마켓|\s?거래|\s?나눔)?(?:에서?도?|으?로)?\s?(?:안\s?팔[가-힣]*|실패[가-힣]*)|"
    r"(?:\s?마켓|\s?거래|\s?나눔|에서?도?|으?로)+\s?(?:내놔도|올[려렸린][가-힣]*|팔[까려][가-힣]*))",
    r"(?<![가-힣])(?:큰|작은)\s?(?:애|아이|아들|딸)(?:가|이|는|은|의|네|랑|들|거|꺼|것|한테)?(?![가-힣])",
    r"안\s?쓰는|안\s?쓴|못\s?쓰게\s?된|벗겨진|구멍\s?났[가-힣]*|나갔[가-힣]*|안\s?(?:켜|나오|나와)[가-힣]*",
    r"(?:유통기한|유효기간|날짜)(?:이|가)?\s?(?:지난|지났[가-힣]*|넘[가-힣]*)",
)
_VERB = (
    r"[가-힣]*(?:았|었|했|났|갔|왔|됐|졌|렸|겼)(?:어|는데|는디|다|음|네|고|지)[가-힣]*",
    r"[가-힣]+(?:어요|아요|해요|네요|는데요?|니다|려고|려면|으면|어서|아서|세요|까요|져요|여요|려요|커요|하게|지만|하기)(?![가-힣])",
)
_PARTICLE = re.compile(
    r"(?:이랑|랑|하고|에서|에다가?|에게|까지|부터|으로|로|에|은|는|이|가|을|를|도|만|의|와|과|요|이요|인데요?|이나|나|이라도|"
    r"들|거|것|건|걸|께)+$"
)
#: Particles wherever they stand, and "that one", which is no thing either.
_ALWAYS = ("은", "는", "을", "를", "에")
_THAT = ("거", "것", "건", "걸", "게", "거는")

#: How a word ends that tells what was done or how a thing is, and names nothing: "깨먹음", "오래됐는데". Besides these,
#: any word ending in ㅁ, and before another word in ㄴ or ㄹ ("이빠진 식칼").
_PREDICATE = re.compile(
    r"(?:다|네|요|죠|까|냐|냐고|니|데|든|려고|려면|면서|면|어서|아서|해서|고|어|아|해|돼|봐|줘|게|거|것|걸|때|던|ㅠ+|ㅋ+|ㅎ+|"
    r"라고|다고|자고|지만|길래|더니|중|채|째|뿐|씩|쯤|정도|하나|두개|세개|몇개|개)$"
)
_CLOSED, _LEADING = "ㅁ", "ㄴㄹ"
_HOLDS = re.compile(
    r"(?:빈|다\s?쓴)?(?:봉지|봉투|통|병|박스|상자|팩|포장|껍데기|껍질|비닐|캔|튜브|케이스|라벨|뚜껑|파우치|컵|펌프|망|심|필름|커버)"
)
_BESIDE = re.compile(r"(?:with|without|from|inside)(?:the|a|my)?$")
#: What is said of a thing that is not the one asked about: it is denied, or dealt with already.
_DONE_WITH = re.compile(
    r"말고|빼고|빼놓고|뺐[고는어음]|제외|아니[고라]|(?:버렸|냈|내놨|넣었|먹었|마셨|줬|치웠|뗐|팔았|모았|챙겼|재활용했)(?:고|는데|지만)|"
    r"(?:버리|떼|팔|주|(?<!모)두|씻|재활용하)고|떼서|재활용인데|멀쩡|괜찮"
)
_FARTHEST = 14  # letters behind a name where that is looked for
#: Behind a part: it is still on, or came off, or it is what is wrong with the whole, which is meant ("라벨 안 떼지는",
#: "손잡이가 부러졌어요"; not "부러진 거", which is a part by itself).
_OF_WHOLE = re.compile(
    r"(?:이|은|는)다?뗐|에(?!서|요|해당)|"
    r"(?:이|가|을|를|은|는|도|만)?(?:따로|다|꼭|잘|이미)?(?:스티커)?"
    r"(?:(?:안|못)(?:떼|뗀|뗐|떨어|빼|뺀|뺐|분리|제거|빠|열|닫|돌|나오|들어|켜)|떼(?:야|나|는|고|서|면|도)|"
    r"(?:분리|제거)(?:해|하)|달[린려]|붙[은어었]|있는|있어|들어(?:있|간)|없|포함|째|같이|자국|꽂|딴|연채|열린)|"
    r"(?:이|가|은|는|도)?(?:한쪽이?|한짝이?|하나가?|다|좀|조금|자꾸|똑|뚝|완전히?)*"
    r"(?:부러[지졌짐져]|끊어[지졌짐져]|끊[겼김]|무[뎌뎠]|튀어나|뜯[겼기]|뜯어[졌짐져]|나[갔감가]|망가[지졌짐져]|헐거|헐렁|닳[았음]|늘어[났나졌짐]|"
    r"떨어[지진져졌짐]|휘었|휘어|휨|고장[났남나]|덜렁|덜덜|빠[졌짐]|새[요고서]|샘|터[졌짐])"
)
#: Only that part of it is broken, gone or not meant: it is not what is asked about.
_NOT_ALONE = re.compile(
    r"만(?:좀|다|조금|새로)?(?:부러|깨|고장|망가|빠[졌진]|없|안|찢|헐|녹|빼|떼|제외|말고|분리|남기|두고|교체|갈|바[꾸꿨]|새[는서]|샜|휘|금|터|끊|닳|구멍)"
)
#: Behind what goods come in: it is what the thing itself is to be put into ("유리컵 뽁뽁이로 싸서"), or made of
#: ("우비 비닐 재질").
_PUT_INTO = re.compile(
    r"(?:으?로(?!서)|(?:안|속)?에(?!서))?(?:다가?)?(?:싸|쌀|감싸|감아|감고|담아|담고|담는|넣|씌|묶|포장)|으?로(?!서)|(?:안|속)에(?!서)|"
    r"재질|소재|제품|코팅|인데"
)
#: Behind "만": what is asked is whether it may be, and "가방 천만 원".
_ASKED_OF = re.compile(r"만(?:원|되|돼|재활용|가능)")
#: The dirt on a thing is no whole that it is a part of: "고추장 묻은 비닐". What sticks to a thing, or what it was cut
#: with, was not in it: "테이프 덕지덕지 붙은 박스".
_DIRT = re.compile(r"(?:이|가|을)?(?:묻|흘린|튄|쏟)")
_STICKS = re.compile(r"^(?:으?로|에(?!서))|붙|떼|뗀|달린|섞|흘린|쏟|튄|흐른")
_MEASURE = re.compile(r"한두?|두세?|세|네|반|몇|서너|다섯|여섯|일곱|여덟|아홉|열|스무|여러|\d+")
#: Behind a name: something is only like it ("손톱만한 통").
_COMPARED = re.compile(r"만한(?=[가-힣])|처럼생[긴겼]|같이생[긴겼]")
#: As a particle of it: it is asked about together with something else.
_WITH_WHOLE = re.compile(r"이?랑|하고|과|와|까지")
#: Between two things that are asked about at once; and behind them, that they cannot be told apart.
_TOGETHER = re.compile(r"(?:이?랑|하고|과|와|및|and)(?:그|또|이)?")
_STUCK_TOGETHER = re.compile(r"붙|섞|안(?:떨어|빠|분리)")
#: What may belong to all that stands before it: "간장이랑 참기름 병" are two bottles.
_SHARED = re.compile(_HOLDS.pattern + "$|(?:뼈|배터리|충전기|가방|필터|케이블|뚜껑)$")
#: What may stand between a whole and its part, besides states: where it is, and that it was taken off.
_PLACE = re.compile(
    r"(?:에서?|의)?(?:위|안|속|밑|겉|앞|뒤|바닥)?쪽?(?:에서?|의)?"
    r"(?:(?:뜯어|떼어?|빼|잘라|벗겨|분해해|부숴)서?(?:낸|내고|나온)|(?:뜯고|떼고|빼고|분해하고|부수고)(?:난|남은|나온)|"
    r"나온|든|들어있는|들어있던|박힌|떨어(?:진|져나온)|뗀|뺀|뜯은|자른|벗긴|분리한|분해한|떼어놓은|빼놓은|"
    r"(?:사고|사면|조립하고|설치하고|먹고|쓰고|뜯고|까고|받고)(?:난|남은|나온|생긴|주는|들어있는|딸려온|버린)?|(?:새로)?(?:산|뜯은)|"
    r"(?:담겨|싸여|딸려|포장돼|포장되어|배송)?온|(?:담겨|싸여|들어|싸고|감싸고)?있던|담았던|담긴|들었던|쌌던|싼|감쌌던|감싼|씌웠던|씌운|덮었던|덮인|"
    r"붙어있던|붙어온|다쓴|다먹은|(?:낱개|개별)(?:포장)?)?"
)
#: What it is dirty with or what sticks to it, before the thing itself: "물 새는 세탁기".
_STAINED = re.compile(
    r"(?<![가-힣a-z])[가-힣a-z]+(?:\s?(?:묻은|묻힌|밴|배인|물든|튄|붙은|달라붙은|눌어붙은|엉겨붙은|닦은)|(?<![은운린한온던진])\s(?:새는|샌))"
    r"(?=\s[가-힣a-z]{2})(?!\s(?:것|건데|거[를도]|채로|경우|상태|부분|바람에|이유|중이))"
)
_NO_PARTS = Parts()
#: How a word for a part was found: right behind the name of the whole, with something told in between, or as all that
#: it is about ("… 쇠만").
BEHIND, APART, ALONE = range(3)
_CIRCUMSTANCE = ("에", "에서", "로", "으로", "에다", "에다가", "에게", "까지", "부터")
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
    letters: str = ""

    def within(self, other: Span) -> bool:
        """Whether `other` says more."""
        wider = other.end - other.start > self.end - self.start
        return wider and other.start <= self.start and self.end <= other.end


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name stands in its question; shares are of letters, 0 to 1.

    `joined`: unexplained letters written together with its front. `compound`: the same behind it ("스프" in "스프링").
    `after`: a further thing, which the name merely describes ("칫솔" in "칫솔 케이스").
    `aside`: it says where or by what ("약국에서"). `next`: another name follows at once ("폰" in "폰 액정 필름").
    `held`: what it comes in is named ("츄르" in "츄르 봉지").
    `tells`: it belongs to what is told of a later name ("곰국" in "곰국 끓이던 들통").
    `done`: it is denied or dealt with before something else is asked about ("망치는 치웠고").
    `earlier`, `later`: so many other names.
    `cover`: how much of what has to be explained it explains; `most`: how much of what known names do.
    """

    joined: float
    compound: float
    after: float
    aside: bool
    next: bool
    held: bool
    tells: bool
    done: bool
    earlier: int
    later: int
    cover: float
    most: float

    @property
    def heads(self) -> bool:
        """Whether nothing speaks against its being the thing that is asked about."""
        return not (self.aside or self.next or self.held or self.tells or self.after or self.compound)


class Reading:
    """A question taken apart. Letters are what `hangul.normal` leaves; positions count them."""

    def __init__(self, text: str, keys: Container[str] = (), parts: Parts = _NO_PARTS) -> None:
        self.text = canonical(text)
        self._places: dict[Span, Place] = {}
        #: Whether it speaks of throwing away at all; a bare name does not, and need not.
        self.disposal = topics.disposal(self.text)
        #: About something else than throwing things away: "휴대폰 요금제 추천".
        self.other_topic = topics.other(self.text)
        roles = self._roles()
        self._kept = kept = [i for i, c in enumerate(self.text) if c.isalnum()][:_LONGEST_TEXT]
        self.letters = "".join(self.text[i] for i in kept)
        self.roles = [roles[i] for i in kept]
        for role in (CONDITION, ASKING, FILLER, VERB):  # no name but in what describes or asks: "플라스틱?", "쓰레기?"
            if THING not in self.roles:
                self.roles = [THING if r == role else r for r in self.roles]
        #: Whether a word starts at this letter; one more entry for the end.
        self.starts = [k == 0 or i != kept[k - 1] + 1 for k, i in enumerate(kept)] + [True]
        self._sounds = [sound(c) for c in self.letters]
        for start, end, bare in self._behind_states(keys):
            self.roles[start:end] = [THING] * (bare - start) + [PARTICLE] * (end - bare)
        #: Names of the dictionary that occur, as they stand or as a compound pulled apart ("피자 먹고 남은 상자"), and
        #: are not merely part of a longer one.
        whole = (span for span in self._runs_of_letters() if span.key in keys and not self._into_asking(span))
        self.said = [span for span in whole if self._may_be(span)]
        there = {(span.start, span.end) for span in self.said}
        compounds = (span for span in self._compounds() if span.key in keys)
        self.said += [span for span in compounds if (span.start, span.end) not in there]
        #: Key of what was said → the part it names, and how that is written.
        self.parts: dict[str, tuple[str, str]] = {}
        for pairs in (self._behind, self._apart):
            self.said += list(self._parts(parts, pairs(parts)))
            self.said = self._widest()
        known = {i for span in self.said for i in range(span.start, span.end)}
        #: Letters that name something we do not know.
        self.unknown = [role == THING and i not in known and not self._tells(i) for i, role in enumerate(self.roles)]
        self._known = sum(self.roles[i] == THING for i in known)
        self._things = sum(role == THING for i, role in enumerate(self.roles) if i in known or self.unknown[i])

    @property
    def strange(self) -> float:
        """How much of what is named is unknown, 0 to 1."""
        return sum(self.unknown) / self._things if self._things else 0.0

    @cached_property
    def around(self) -> str:
        """The sentence without its names and numbers: "□ 고치는 곳"."""
        named = {self._kept[i] for span in self.said for i in range(span.start, span.end)}
        text = ""
        for i, c in enumerate(self.text[: self._kept[-1] + 2] if self._kept else ""):
            shown = topics.NAME if i in named else "0" if c.isdigit() else c if c.isalnum() or c == "?" else " "
            if shown not in (topics.NAME, "0", " ") or not text.endswith(shown):
                text += shown
        return text.strip()

    @cached_property
    def plain(self) -> bool:
        """Whether one name says it all: besides it there are only its state and the asking itself."""
        if self.other_topic or any(self.unknown):
            return False
        return any(
            all(
                role in (ASKING, PARTICLE, CONDITION) or span.start <= i < span.end for i, role in enumerate(self.roles)
            )
            for span in self.said
        )

    @cached_property
    def together(self) -> list[tuple[Span, str]]:
        """Several things that are asked about at once ("머리끈이랑 실핀"), each with what is told of it; else empty."""
        named = sorted((span for span in self.said if self.roles[span.start] == THING), key=lambda span: span.end)
        behind = named[-1].end if named else 0
        if not named or not self.place(named[-1]).heads or _DONE_WITH.search(self.letters, behind):
            return []
        things, since = [named.pop()], 0
        for before in reversed(named):
            if before.end > things[0].start:
                continue
            written = self.text[self._kept[before.end - 1] + 1 : self._kept[things[0].start]]
            between = "".join(c for c in written if c.isalnum())
            if not (_TOGETHER.fullmatch(between) or (not between and set(written) & set(",/+&"))):
                since = self._kept[before.end - 1] + 1
                break
            things.insert(0, before)
        shared = [bool(_SHARED.search(self.letters[span.start : span.end])) for span in things]
        if len(things) < 2 or (shared[-1] and not any(shared[:-1])) or _STUCK_TOGETHER.search(self.letters, behind):
            return []
        ends = [since, *(self._kept[span.end - 1] + 1 for span in things[:-1]), len(self.text)]
        return list(zip(things, (self.text[start:end] for start, end in pairwise(ends)), strict=True))

    def place(self, span: Span) -> Place:
        """How `span` stands in the whole."""
        if span not in self._places:
            self._places[span] = self._placed(span)
        return self._places[span]

    def _placed(self, span: Span) -> Place:
        size = span.end - span.start
        inside = sum(role == THING for role in self.roles[span.start : span.end])
        joined, i = 0, span.start
        while i > 0 and not self.starts[i] and self.unknown[i - 1]:
            i, joined = i - 1, joined + 1
        particle, i = "", span.end
        while i < len(self.roles) and self.roles[i] == PARTICLE and not self.starts[i]:
            particle, i = particle + self.letters[i], i + 1
        told = i
        compound = after = 0
        if not particle:
            while i < len(self.roles) and not self.starts[i] and self.unknown[i]:
                i, compound = i + 1, compound + 1
            while i < len(self.roles) and (self.unknown[i] or self.roles[i] in (FILLER, CONDITION)):
                after, i = after + self.unknown[i], i + 1
        later = sum(
            other.start >= span.end and self.roles[other.start] == THING for other in self.said if other != span
        )
        return Place(
            joined=joined / (joined + size),
            compound=compound / (compound + size),
            after=after / (after + size),
            aside=particle in _CIRCUMSTANCE or bool(_BESIDE.search(self.letters[: span.start])),
            next=not particle and any(other.start == span.end for other in self.said),
            held=not particle and bool(_HOLDS.match(self.letters, span.end)),
            tells=later > 0 and self._leads(told),
            done=self._done(span.end),
            earlier=sum(other.end <= span.start and self.roles[other.start] == THING for other in self.said),
            later=later,
            cover=min(inside / self._things, 1.0) if self._things else 1.0,
            most=min(inside / self._known, 1.0) if self._known else 1.0,
        )

    def _done(self, start: int) -> bool:
        """Whether what is told behind a name, before the next one, sets it aside for something that follows."""
        end = self._next(start) or len(self.letters)
        told = _DONE_WITH.search(self.letters, start, min(end, start + _FARTHEST))
        return told is not None and THING in self.roles[told.end() :]

    def _leads(self, start: int) -> bool:
        """Whether what is told up to the next name is told of that one: "끓이던", "발라먹고"."""
        end = self._next(start)
        if end <= start or (self.roles[end - 1] == THING and not self._tells(end - 1)):
            return False
        return self.letters[end - 1] in "고던서" or _leads(self._sounds[end - 1])

    def _next(self, start: int) -> int:
        """Where the next name begins, 0 where there is none."""
        return min((other.start for other in self.said if other.start >= start), default=0)

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
        for match in _STAINED.finditer(said):
            mark(match.start(), match.end(), CONDITION)
        for role, pattern in (filler, verb):
            for match in pattern.finditer(self.text):
                if role == FILLER or ASKING not in roles[match.start() : match.end()]:
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

    def _runs_of_letters(self) -> Iterator[Span]:
        for start in range(len(self.letters)):
            key = ""
            for end in range(start, min(start + LONGEST_NAME, len(self.letters))):
                key += self._sounds[end]
                yield Span(start, end + 1, key)

    def _behind_states(self, keys: Container[str]) -> Iterator[tuple[int, int, int]]:
        """Names written together with what is told of them: "들기름묻은키친타올"; with the end before a particle."""
        end = 0
        for first, role in enumerate(self.roles):
            if role != CONDITION or first < end:
                continue
            end = first + 1
            while end < len(self.roles) and self.roles[end] == CONDITION and not self.starts[end]:
                end += 1
            for start in range(first + 2, end - 1):
                if not _leads(self._sounds[start - 1]):
                    continue
                ends = [end, *(e for e in range(start + 2, end) if _PARTICLE.fullmatch(self.letters, e, end))]
                if bare := next((e for e in ends if self.span(start, e).key in keys), 0):
                    yield start, end, bare
                    break

    def _may_be(self, span: Span) -> bool:
        """Not in what asks ("플라스틱으로 버려요?"); a name of one letter, or of several words, only as whole words."""
        if THING not in self.roles[span.start : span.end] or self._denied(span):
            return False
        if self._compared(span):
            return False
        if span.end - span.start > 1 and not any(self.starts[span.start + 1 : span.end]):
            return self.roles[span.start] != PARTICLE
        over = self.starts[span.end] or self.letters.startswith("하고", span.end)
        whole = over or self.roles[span.end] in (PARTICLE, ASKING, CONDITION, VERB)
        return self.starts[span.start] and whole

    def _compared(self, span: Span) -> bool:
        """Whether something is only like what the word around it names."""
        over = self._end(span.end)
        compared = _COMPARED.search(self.letters, span.end, over + 3)
        return compared is not None and compared.start() <= over

    def _into_asking(self, span: Span) -> bool:
        """Whether it ends within a word that asks: "난로 재" in "난로 재활용 되나요"."""
        return not self.starts[span.end] and self.roles[span.end - 1 : span.end + 1] == [ASKING, ASKING]

    def _denied(self, span: Span) -> bool:
        """A state that is part of a name, but not of this thing: "깨진 병" in "안 깨진 병"."""
        return self.letters[max(span.start - 1, 0) : span.start] == "안" and self.roles[span.start] == CONDITION

    def _compounds(self) -> Iterator[Span]:
        """Two things with only descriptions in between, as one name: 피자 … 상자 → 피자상자."""
        for first, last in self._described():
            key = "".join(self._sounds[slice(*first)] + self._sounds[slice(*last)])
            yield Span(first[0], last[1], key, self.letters[slice(*first)] + self.letters[slice(*last)])

    def _described(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Two words for things (start and end of each) with only descriptions in between."""
        for first, last in pairwise((start, end) for start, end, _ in _words(self.roles, self.starts)):
            if first[1] < last[0] and set(self.roles[first[1] : last[0]]) <= {FILLER, CONDITION}:
                yield first, last

    def _widest(self) -> list[Span]:
        once: dict[tuple[int, int, str], Span] = {}
        for span in self.said:
            once.setdefault((span.start, span.end, span.key), span)
        return [span for span in once.values() if not any(span.within(other) for other in once.values())]

    def _parts(self, parts: Parts, pairs: Iterable[tuple[Span, Span, int]]) -> Iterator[Span]:
        """The pairs of a whole and a word behind it that name a part which is asked about by itself, or that together
        are the name of a thing; with each, how the word was found.
        """
        for whole, word, how in pairs:
            key = whole.key + word.key
            if key in self.parts or _DIRT.match(self.letters, whole.end, word.start):
                continue
            named = parts.named(whole.key, word.key) or self._in_common(parts, whole, word, how)
            if not named and (how != ALONE or key not in parts.wholes):
                continue
            if self._by_itself(word.end) and not self._asks(word) and not self._measures(word):
                if named:
                    self.parts[key] = named
                letters = self.letters[whole.start : whole.end] + self.letters[word.start : word.end]
                yield Span(whole.start, word.end, key, letters)

    def _asks(self, word: Span) -> bool:
        """Whether it is the beginning of what asks: "우산 대" in "우산 대형폐기물인가요"."""
        return not self.starts[word.end] and set(self.roles[word.start : word.end + 1]) == {ASKING}

    def _in_common(self, parts: Parts, whole: Span, word: Span, how: int) -> tuple[str, str] | None:
        """What stands behind any name, unless the thing is made of it or put into it, or something sticks to it."""
        found = parts.in_common(whole.key, word.key, alone=how == ALONE)
        if not found or _PUT_INTO.match(self.letters, word.end):
            return None
        if how == ALONE:
            return None if _ASKED_OF.match(self.letters, word.end) else found
        made_of = how == BEHIND and self.roles[word.start] == CONDITION
        return None if made_of or _STICKS.search(self.letters[whole.end : word.start]) else found

    def _measures(self, word: Span) -> bool:
        """Whether it says how much there is: "나사 한 봉지"."""
        before = self._begin(word.start - 1)
        return self.starts[word.start] and _MEASURE.fullmatch(self.letters, before, word.start) is not None

    def _behind(self, parts: Parts) -> Iterator[tuple[Span, Span, int]]:
        """Every name of something that has parts with whatever is written right behind it, where they may be one."""
        for span in (span for span in self.said if span.key in parts.wholes):
            for end in range(span.end + 1, min(span.start + LONGEST_NAME, len(self.letters)) + 1):
                if self._may_be(Span(span.start, end, "")):
                    yield span, self.span(span.end, end), BEHIND

    def _apart(self, parts: Parts) -> Iterator[tuple[Span, Span, int]]:
        """The last name of something that has parts with what the question ends in, if only its state and place are
        told in between, or with what it is alone about ("… 본체는 두고 줄만"): 돌돌이 … 종이. And every
        such name with the next thing, where there are only descriptions in between.
        """
        end = len(self.roles)
        while end and self.roles[end - 1] in (PARTICLE, ASKING, FILLER):
            end -= 1
        begins = [i for i in range(end) if self.starts[i]]
        words = [(start, end, False) for start in begins[-2:]]
        wholes = [span for span in self.said if span.key in parts.wholes]
        for k, letter in enumerate(self.letters):
            if letter != "만" or _NOT_ALONE.match(self.letters, k):
                continue
            ending = [(start, k, True) for start in begins if start < k and not any(self.starts[start + 1 : k + 1])]
            keys = [self.span(start, k).key for start, _, _ in ending]
            if self.starts[k + 1] and any(parts.alone_of(w.key, key) for w in wholes for key in keys):
                self.roles[k] = PARTICLE  # behind a short word it is not heard as one
            if self.roles[k] == PARTICLE:
                words += ending
        for span in wholes:
            for start, over, alone in words:
                if span.end > start or start == over or not self.starts[span.start]:
                    continue
                between = [other for other in self.said if span.end <= other.start and other.end <= start]
                within = any(other.start < start < other.end for other in self.said)
                if within or not all(self._done(other.end) for other in between):
                    continue
                telling = (i for i in range(span.end, start) if self.roles[i] not in (FILLER, CONDITION))
                told = "".join(self.letters[i] for i in telling)
                clause = span.end - span.start > 1 and _leads(self._sounds[start - 1])
                near = len(told) <= _FARTHEST and (alone or clause)
                if near or _PLACE.fullmatch(told):
                    yield span, self.span(start, over), ALONE if alone else APART if told else BEHIND
        for (_, end), last in self._described():
            for span in (span for span in wholes if span.end == end):
                yield span, self.span(*last), BEHIND

    def _by_itself(self, end: int) -> bool:
        """Whether a part that is named up to there is asked about, and no word of its own goes on."""
        over = self.starts[end] or self.roles[end] in (PARTICLE, ASKING, CONDITION, VERB)
        with_whole = not self.starts[end] and _WITH_WHOLE.match(self.letters, end)
        further = any(self.roles[i] == THING and not self._tells(i) for i in range(end, len(self.roles)))
        dealt_with = further and self._done(end)
        return over and not (with_whole or dealt_with or _OF_WHOLE.match(self.letters, end))

    def _begin(self, i: int) -> int:
        """Where the word of letter `i` begins."""
        while not self.starts[i]:
            i -= 1
        return i

    def _end(self, i: int) -> int:
        """Where the next word begins, from letter `i` on."""
        while not self.starts[i]:
            i += 1
        return i

    def _tells(self, i: int) -> bool:
        """Whether the word around letter `i` ends like one that tells something of a thing."""
        start, end = self._begin(i), self._end(i + 1)
        last = self._sounds[end - 1][-1]
        if end < len(self.letters) and _leads(self._sounds[end - 1]):
            return True
        return start > 0 and (
            (last in _CLOSED and len(self._sounds[end - 1]) == 3) or bool(_PREDICATE.search(self.letters[start:end]))
        )

    def span(self, start: int, end: int) -> Span:
        return Span(start, end, "".join(self._sounds[start:end]))

    @cached_property
    def windows(self) -> list[Span]:
        """Whole words that could be a name with a typo: one to three in a row, last ones first, and then those with
        what may be particles.
        """
        bare: dict[str, Span] = {}
        full: dict[str, Span] = {}
        words = list(_words(self.roles, self.starts))
        for last in range(len(words) - 1, -1, -1):
            for first in range(last, max(last - 3, -1), -1):
                start, end, with_particle = words[first][0], words[last][1], words[last][2]
                if any(self.roles[i] in (ASKING, FILLER, VERB) for i in range(start, end)):
                    break
                for found, over in ((bare, end), (full, with_particle)):
                    span = self.span(start, over)
                    if len(span.key) >= 4 and over - start <= LONGEST_NAME:
                        found.setdefault(span.key, span)
        for key, span in full.items():
            bare.setdefault(key, span)
        return list(bare.values())[:_WINDOWS]


def _leads(sound_of_letter: str) -> bool:
    """Whether a word that ends so may describe what follows: ㄴ or ㄹ ("묻은", "버릴")."""
    return len(sound_of_letter) == 3 and sound_of_letter[2] in _LEADING


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
