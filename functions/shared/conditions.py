"""The state of a piece of waste, and how people say it: "기름 묻은", "깨진", "부푼", "먹다 남은", "코팅된".

`read()` finds such words in what a citizen typed. It only reports what was said; what follows from it is the item's
decision table's business (`decisions.py`). Standard library only.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from functions.shared.hangul import canonical

#: Axis → its values. A decision table must cover all of them; an axis with () takes the values its table names.
AXES: dict[str, tuple[str, ...]] = {
    "contents": ("empty", "remaining"),
    "dirt": ("clean", "dirty", "oily", "stuck"),  # stuck: it does not come off
    "label": ("on", "off"),
    "cap": ("on", "off"),
    "damage": ("intact", "broken", "swollen"),
    "size": ("small", "large"),
    "housing": ("apartment", "house"),
    "material": (),
    "kind": (),
}

#: What a thing may be made of. Only these are understood in a citizen's words and in the vision model's answer.
MATERIALS = (
    "paper",
    "plastic",
    "vinyl",
    "styrofoam",
    "glass",
    "metal",
    "wood",
    "ceramic",
    "fabric",
    "leather",
    "rubber",
    "silicone",
    "coated",
    "electronic",
    "mixed",
)


@dataclass(frozen=True, slots=True)
class State:
    """What is known of one piece of waste. "unknown" and None mean that nobody said. `kind` is the item's own
    variant.
    """

    contents: str = "unknown"
    dirt: str = "unknown"
    label: str = "unknown"
    cap: str = "unknown"
    damage: str = "unknown"
    material: str | None = None
    size: str | None = None
    kind: str | None = None
    housing: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, object]) -> State:
        """A state from loose values (a model's answer, JSON): unknown keys and values no axis has are dropped."""
        names = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in values.items() if k in names and isinstance(v, str) and _valid(k, v)})

    def known(self) -> dict[str, str]:
        """Axis → value, only what is known."""
        values = ((axis, getattr(self, axis)) for axis in self.__slots__)
        return {axis: value for axis, value in values if value is not None and value != "unknown"}

    def merged(self, other: State) -> State:
        """This state with everything `other` knows laid over it."""
        return dataclasses.replace(self, **other.known())


def _valid(axis: str, value: str) -> bool:
    if axis == "material":
        return value in MATERIALS
    return value == "unknown" or not AXES[axis] or value in AXES[axis]


_JOSA = r"\s?(?:이|가|은|는|을|를|도|까지)?\s?"
_STUFF = (
    r"(?:내용물|음식물?|국물|소스|양념|가스|기름|음료|약|화장품|(?<!선)물(?!든(?!\s?(?:병|생수))|들은)|크림|"
    r"페인트|용액|액체)"
)
_DIRT = (
    r"(?:고추장|된장|간장|양념|소스|음식물?|국물|이물질|오물|흙|페인트|물감|잉크|케첩|카레|김치\s?국물|김칫국물|초콜릿|치즈|"
    r"생크림|크림|본드|풀|피|먼지|똥|소변|커피|우유|찌꺼기|때|곰팡이)"
)
_STAIN = r"(?:얼룩|자국|때|기름기?|양념|국물|색깔?|물|고추장|찌꺼기|이물질|본드|오염|음식물?|소스)"
#: What somebody did to get it off, and how one says that it is still there.
_TRIED = (
    r"(?:씻어|씻었는데|헹궈|헹궜는데|닦아|문질러|문대|빨아|불려|담가|담궈|담가놔|흔들어|말려|긁어|쑤셔|훔쳐|(?:비누|솔|걸레)질해|"
    r"(?:퐁퐁|세제|락스|소다|아세톤|매직블[럭록]|수세미|칫솔|솔|물)(?:으?로|에\s?(?:담가|불려|흔들어))|(?:뜨거운|더운|뜨신|따뜻한)\s?물에)"
)
_STAYS = (
    r"(?:그대로(?!\s?(?:버|내|배출))|소용\s?없|(?:안|못)\s?(?:지[는고워]|져|없어|빠|벗[겨기]|떨|가[셔시신심]|닦[여이]|녹)|남[아는은네음]|미끌|미끄덩|"
    r"끈적|찐득|쩍쩍|번들|[뻘벌]건|[뻘벌]겋|[뻘벌]개|빨간|빨갛|누렇|누런|노랗|노란|시커|[들달]러?\s?붙[네어])"
)
#: Letters that make another word with "물": "선물 든", "국물들었던".
BEFORE_WATER = "선국작생용식나해동건보폐오"
#: Of a person and not of the thing: "큰애", "작은 집".
_KIN = (
    r"(?!\s?(?:애|아이|아들|딸|언니|누나|형|오빠|집|엄마|아빠|어머니|아버지)"
    r"(?:가|이|는|은|의|네|랑|들|거|꺼|것|한테|에서?)?(?![가-힣]))"
)
#: Something is left; what it was in, once that is used up, is no such thing: "먹고 남은 껍데기".
_HOLDERS = r"(?:껍데기|껍질|봉지|봉투|통|병|캔|박스|상자|곽|팩|비닐|심|포장|용기|뚜껑)"
_LEFT = rf"(?:(?<!고)(?<!고\s)남은|남은(?!\s?{_HOLDERS}(?![가-힣]{{2}})))"
_SOME = r"(?:통째로|반쯤|절반|조금|좀|많이|잔뜩|엄청|다|푹|흠뻑|완전히?)?\s?"

#: (axis, value, how it is said). Of an axis the first that matches wins: negations stand before what they negate.
_WORDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "contents",
        "remaining",
        (
            rf"{_STUFF}{_JOSA}{_SOME}(?:남|들어\s?있(?!(?:었)?던(?!데))|들은|든(?![가-힣])|차\s?있)[가-힣]*",
            r"(?:안|못|덜)\s?(?:비[운움웠]|쓴|먹[은음었]|마[신심셨]|뜯[은음었]|땄|딴|깐|까(?=고)|열[은었](?!는))[가-힣]*|(?:안|덜)\s?[씀썼][가-힣]*|(?:쓰다|먹다|마시다|바르다|칠하다)\s?(?:가\s?)?(?:남|만)[가-힣]*",
            rf"(?:반쯤|절반|조금|많이|반이나|반이|약간|며칠치|반)\s?(?:정도\s?|이상\s?)?(?:남|쓴|(?<!반)찬|들[음었](?!던))[가-힣]*|(?<![어아여궈로]도)(?<![어아여궈로]도\s)(?:{_LEFT}|남[음긴김]|남아\s?있[는음]|남았[가-힣]*)",
            r"(?:한|두|몇)\s?번\s?쓰고\s?남[가-힣]*|끝까지\s?안\s?(?:짜|짠|짰)[가-힣]*",
            r"가득\s?(?:찬|든)|꽉\s?찬|미개봉|뜯지도?\s?않[가-힣]*|따지도?\s?않[가-힣]*|그대로\s?(?:남[아은]|들어\s?있)[가-힣]*|다\s?못\s?(?:쓴|쓰고|먹[은고었]|마[신시셨])[가-힣]*",
            r"half[\s-]?full|half an? (?:jug|bottle|jar|can|tube|pack|bag) of|not empty|\bunused\b",
        ),
    ),
    (
        "contents",
        "empty",
        (
            r"(?:다|싹|깨끗이|완전히)\s?(?:[쓴씀썼]|먹[은음었]|마[신심셨]|비[운움웠]|비우(?!지|기|면|고))[가-힣]*|텅\s?빈|비운|비어\s?있는|비었[가-힣]*",
            r"빈(?=\s?[가-힣]{1,6}(?:병|캔|통|박스|봉지|팩)|\s|[병캔통])|\bempty\b",
        ),
    ),
    (
        "dirt",
        "clean",
        (
            rf"(?:기름기?|양념|국물|음식물?|이물질|소스|아무것도?|{_DIRT}){_JOSA}(?:하나\s?도?\s?|전혀\s?|거의\s?|별로\s?)?"
            r"(?:안\s?(?:묻|배|밴|튀)|없(?:[는음이]|어(?!지)))[가-힣]*|안\s?(?:묻|밴|배)[가-힣]*|(?:묻|배)지\s?않[가-힣]*",
            r"안\s?더러[운워][가-힣]*|더럽지(?:만|는|도)?\s?않[가-힣]*",
        ),
    ),
    (
        "dirt",
        "stuck",
        (
            r"(?:안|못)\s?(?:씻[겨긴김기]|헹궈[지진져]|닦[여이임]|닦아지|지워[지진짐])[가-힣]*|"
            r"(?:씻기|닦이|지워지)(?:지|질|진)\s?(?:를|가|도|는)?\s?(?:않|안|못)[가-힣]*",
            rf"{_STAIN}{_JOSA}{_SOME}(?:안|못)\s?(?:지[는고워]|져|빠[져지짐]|없어)[가-힣]*",
            rf"{_STAIN}{_JOSA}(?:지|빠지|떨어지|없어지|사라지)(?:지|질)\s?(?:가|도|는)?\s?(?:않|안|못)[가-힣]*",
            r"(?:말라|눌어|들러)\s?붙[가-힣]*\s?안\s?떨어[가-힣]*",
            rf"{_TRIED}\s?(?:봐|내|내봐)?도\s?[^,.?향냄되돼]{{0,12}}?{_STAYS}[가-힣]*",
            r"(?:굳(?!이)|[눌말들엉]\s?[어라러겨]\s?붙|찌들|떡[져진]|뭉[친쳐]|때가\s?박[혀힌])[가-힣]*\s?[^,.?]{0,10}?(?:안|못)\s?(?:떨|벗[겨기]|지워|빠[져지짐]|녹|없어)[가-힣]*",
            r"(?:고춧|김칫|카레|커피|[가-힣]색|빨간|노란|주황|초록)\s?물이?\s?(?:쫙|싹|다|푹|완전)?\s?(?:들[었]|들어(?!\s?(?:가|오|있))|배[었어서]|뱄|밴)[가-힣]*",
            r"(?:[뻘벌빨]|시뻘|샛노)[개게래][져졌진짐][가-힣]*|(?:알록달록|초코\s?물이?)\s?(?:물들|배[었인어])[가-힣]*|(?:소스|국물|기름|초코|양념)[이가]?\s?스며[들든][가-힣]*",
            rf"(?<![{BEFORE_WATER}])물(?:[든듦](?!\s?(?:병|생수))|들[었여은][가-힣]*|들어(?!\s?[있가간갔오온떻디])[가-힣]*)",
            r"까맣게\s?눌어\s?붙[가-힣]*|쩐내에?\s?끈적[가-힣]*",
            r"(?:기름|양념|땀|국물|물감|간장|소스|고춧가루|고춧물)에?\s?(?:[뻘벌]겋게\s?)?(?:절[은어음었]|쩔[은어음었]|쩐|쩌든)[가-힣]*|(?<![가-힣])(?:절은|쩔은)(?=\s)",
            r"(?:국물|양념|소스|고추장|간장|(?<=용기 )기름|빨간\s?기름)[이가]?\s?(?:쫙|싹|다|푹)?\s?"
            r"(?:밴|배[인었어]|뱄)(?!\s?[^,.?]{0,14}씻으면)[가-힣]*",
            r"(?:벌겋|빨갛|뻘겋|누렇)게\s?(?:밴|배|됨|물|든|들[었은])[가-힣]*",
            rf"(?:김치\s?국물|김칫국물|고춧물|고추기름|카레){_JOSA}{_SOME}(?:밴|배[인었어]|뱄|든(?=\s)|들었|물든|물들)[가-힣]*",
        ),
    ),
    (
        "dirt",
        "dirty",
        (
            r"(?:안|못|덜)\s?(?:씻|헹|닦|빨|깨끗)[가-힣]*|(?:씻|닦|깨끗하|빨)지\s?(?:않|못|도\s?않)[가-힣]*|더럽지만(?!\s?않)",
        ),
    ),
    (
        "dirt",
        "oily",
        (
            rf"(?:기름|식용유|오일){_JOSA}{_SOME}(?:먹은|머금은)|기름기?(?:때)?{_JOSA}{_SOME}(?:묻|밴|배|뱄|낀|끼|찌든|범벅|튄|튀|얼룩|많|흥건|쩔|잔뜩|투성)[가-힣]*|기름진|기름때",
            r"\b(?:oily|greasy|grease|(?<!no )(?<!without )oil[ -]stain(?:s|ed)?|covered in oil)\b",
        ),
    ),
    (
        "dirt",
        "dirty",
        (
            rf"{_DIRT}{_JOSA}{_SOME}(?:묻|밴|배[인어었고서]|뱄|낀|껴|범벅|튄|튐|튀[어었]|얼룩|흥건|투성|말라붙|눌[어러]붙|들러붙|흘[려렸린러]|샌|샜|쏟|엎)[가-힣]*|(?<![가-힣])(?:오줌|똥|피|토)\s?(?:을|를|가|이)?\s?(?:싼|쌌|묻|배[어었인])[가-힣]*|묻은|묻었[가-힣]*",
            rf"(?:{_DIRT}|고춧가루|음식물?)(?:에|로)\s?{_SOME}(?:젖|절[은었여])[가-힣]*",
            r"더러[운움워][가-힣]*|더럽[고다네](?![가-힣])|끈적[가-힣]*|찐득[가-힣]*|오염[가-힣]*|지저분[가-힣]*|찌든|얼룩[가-힣]*|곰팡이(?:가|이|로|도)?\s?(?:잔뜩|까맣게|시커멓게|다|온통)?\s?(?:핀|슨|피[었어]|슬[었어]|먹|껴|낀|난(?![가-힣])|났|번[진졌]|시커|새까)[가-힣]*|(?<![가-힣])(?:쉬|응가|토)(?:를\s?)?(?:했|해서|한(?![가-힣])|해놓)[가-힣]*|변기\s?물?에\s?빠[진졌][가-힣]*",
            r"\b(?:dirty|stained|soiled|mou?ldy|with (?!no |any )(?:\w+ )?stains?)\b",
        ),
    ),
    (
        "dirt",
        "clean",
        (
            r"깨끗[가-힣]*|씻[은음]|씻었[가-힣]*|헹[군굼]|헹궜[가-힣]*|세척[한함]|닦[은음]|닦았[가-힣]*|\b(?:clean|rinsed|washed)\b",
        ),
    ),
    ("label", "on", (r"라벨\s?(?:이|을|도)?\s?(?:붙은|붙어|안\s?뗀|안\s?떼|있는|안\s?떨어)[가-힣]*",)),
    ("label", "off", (r"라벨\s?(?:이|을)?\s?(?:뗀|제거한|없는)[가-힣]*|무라벨",)),
    ("cap", "off", (r"뚜껑\s?(?:이|을)?\s?(?:없는|연|열린|뺀|분리한)(?![가-힣])",)),
    ("cap", "on", (r"뚜껑\s?(?:이|을)?\s?(?:닫은|닫힌|닫고|달린|있는|끼운)(?![가-힣])",)),
    (
        "damage",
        "intact",
        (
            r"(?:안|아직\s?안)\s?(?:깨|부서|부러|찢|망가|터)[가-힣]*|멀쩡[가-힣]*|(?:입을|신을|맬|멜)\s?(?:만(?!큼)|수\s?있)[가-힣]*|쓸\s?만[가-힣]*|새\s?옷|새거나\s?다름\s?없[가-힣]*|찢어진\s?(?:데|곳)(?:가|는|은|이)?\s?(?:하나\s?)?(?:도\s?)?없[가-힣]*",
            r"\b(?:intact|wearable|looks? like new)\b",
        ),
    ),
    (
        "damage",
        "swollen",
        (
            r"부푼|부풀[가-힣]*|부풂|빵빵[해하한함][가-힣]*|배부른|배가\s?부른|배불뚝이?|스웰링[가-힣]*|\b(?:swollen|bloated|puffed)\b",
        ),
    ),
    (
        "damage",
        "broken",
        (
            r"터[진짐졌져][가-힣]*|물어\s?뜯[가-힣]*|(?:끈|줄|스트랩|밴드)[이가은]?\s?(?:[툭뚝]\s?)?끊어[진짐졌져][가-힣]*|"
            r"(?:손잡이|끈|단|솔기|천)[이가은]?\s?(?:다\s?)?뜯어[진짐졌져][가-힣]*",
            r"(?:밑창|뒤축|굽|바닥|무릎|소매|팔꿈치|깃)[이가은]?\s?(?:다\s?)?(?:닳[은음았아]|떨어[진짐졌져])[가-힣]*|(?<![가-힣])(?:삭[은음아았]|헤[진짐졌져])[가-힣]*",
            r"너덜[가-힣]*|(?<![가-힣])좀\s?(?:먹[은었](?!는)|슬)[가-힣]*|올\s?(?:이\s?)?(?:다\s?)?(?:나[간갔]|풀[린려렸리])[가-힣]*",
            r"깨[진짐졌져][가-힣]*|깨뜨[가-힣]*|깬|깼[가-힣]*|깨먹[가-힣]*|두\s?동강[가-힣]*|와장창|부[서숴][진짐졌져][가-힣]*|박살[가-힣]*|산산조각[가-힣]*|파손[가-힣]*",
            r"(?:금|이)이?\s?(?:간|감(?![가-힣])|갔|나[간감갔])[가-힣]*|찢어[가-힣]*|찢[긴겨][가-힣]*|(?<![가-힣])해[진짐졌]|해어[진짐졌]|낡[은음아았][가-힣]*",
            r"구멍\s?(?:난|나|이\s?난|났|뚫린)[가-힣]*|부러[진짐졌져][가-힣]*|망가[진짐졌져][가-힣]*|(?<![가-힣])침수(?:(?:된|됐|돼|되)[가-힣]*|폰|차(?!단)|(?=\s|$))|고장\s?(?:난|나|났)?[가-힣]*",
            r"(?:실밥|솜|스펀지|속)[이가]?\s?(?:다\s?)?(?:삐져|터져)\s?나[가-힣]+|튿어[진짐졌져][가-힣]*|구멍\s?(?:이\s?)?숭숭[가-힣]*",
            r"못\s?(?:쓰는|씀)|떨어진|(?:a|big|huge) holes? in\b|\b(?:broken|cracked|shattered|torn|worn|holes)\b",
        ),
    ),
    (
        "size",
        "large",
        (
            r"(?:봉지|쓰봉|종량제|마대|수거함)[가-힣]{0,4}\s?(?:주둥이에\s?)?(?:도저히\s?|절대\s?|암만\s?(?:해도)?\s?|아무리\s?(?:해도)?\s?|다\s?|잘\s?)?"
            r"(?:(?:안|못)\s?(?:들어[가갈감간갑]|담[기겨]|닫[혀힘혔]|묶[여임])|못\s?(?:담음|넣[음었겠]))[가-힣]*",
            r"(?:봉지|쓰봉|종량제)[가-힣]{0,2}\s?(?:위로\s?)?(?:어림|택)도?\s?없[가-힣]*|봉지\s?위로\s?(?:삐죽|튀어|올라)[가-힣]*",
            r"too (?:big|long|large) for (?:a|any|the) bags?",
            r"들어가(?:지|질)\s?(?:가|도|는|를)?\s?(?:않|안|못)[가-힣]*|(?:넣을|담을)\s?수(?:가|는|도)?\s?없[가-힣]*|(?:봉지|종량제)\s?밖(?!에\s?(?:없|안))[가-힣]*",
            r"산더미[가-힣]*|한\s?트럭|(?<![가-힣])(?:내\s?|어른\s?|사람\s?)?(?:문짝|벽|사람|어른|(?<!차\s)키)\s?만\s?(?:한|함|큼|해요)(?!\s?(?:번|개|장|박스))|키보다\s?(?:큰|긴)|(?<![0-9.])1\s?(?:미터|m)(?:가|를)?\s?넘[가-힣]*",
            r"(?<![0-9.])(?:[2-9]|[1-9][0-9])\s?(?:미터|m)(?:\s?(?:짜리|넘|이상|길이|되)[가-힣]*|(?![가-힣a-z]|\s?(?:이하|미만)))",
        ),
    ),
    (
        "size",
        "small",
        (
            r"(?:봉지|종량제)[가-힣]{0,4}\s?(?:[0-9]+리터[가-힣]*\s?)?(?:쏙\s?|다\s?)?(?:들어가는|들어갑니다|들어가요(?!\?)|들어감(?!\?)|들어갈\s?만|담을\s?수\s?있(?:음|습니다|다)|쏙)[가-힣]*",
            r"(?<![가-힣])(?:손바닥|방석|주먹|a4)\s?만\s?(?:한|함)(?!\s?(?:번|개|장|박스|줄))|한\s?줌|자투리",
        ),
    ),
    (
        "size",
        "large",
        (rf"큰{_KIN}|커다란|커[서요]|너무\s?커|대용량|대형(?!\s?(?:폐기물|마트))|\b(?:large|big|huge)\b",),
    ),
    (
        "size",
        "small",
        (rf"작은{_KIN}|작아[서요]|조그만|조그마한|[쬐쪼][그끄꼬]만|미니|소형(?!\s?가전)|\b(?:small|mini|tiny)\b",),
    ),
    ("housing", "apartment", (r"아파트|오피스텔|\b(?:apartment|flat)\b",)),
    ("housing", "house", (r"단독\s?주택|주택|빌라|\bhouse\b",)),
    ("material", "coated", (r"코팅\s?(?:이\s?)?(?:된|한|되어\s?있는)|방수\s?종이|\bcoated\b",)),
    (
        "material",
        "electronic",
        (
            r"(?:건전지|배터리)\s?(?:가\s?)?(?:들어|넣|끼|든|내장)[가-힣]*|소리\s?(?:가\s?)?나[가-힣]*|불\s?(?:이\s?)?(?:들어|켜)[가-힣]*",
            r"전동|움직이는|\b(?:electronic|battery[- ]powered)\b",
        ),
    ),
    ("material", "mixed", (r"여러\s?(?:재질|가지)[가-힣]*|섞인|복합\s?재질|\bmixed\b",)),
    ("material", "plastic", (r"플라스틱|[프푸]라스틱|플레스틱|\bplastic\b",)),
    (
        "material",
        "metal",
        (
            r"금속|철사|(?<![물열금걸집])쇠(?!고기)|철제|(?<!고)철로|(?<!고)철이|강철|스[뎅댕뎬덴댄](?!드(?!라이|럼|립))|스텐(?!드(?!라이|럼|립))|스테인(?:리스|레스)|알루미늄|알미늄|양은|무쇠|\b(?:metal|steel|alumini?um|wire)\b",
        ),
    ),
    ("material", "glass", (r"유리|글라스|\bglass\b",)),
    ("material", "wood", (r"나무|원목|목재|우드|\bwood(?:en)?\b",)),
    ("material", "styrofoam", (r"스티로폼|\bstyrofoam\b",)),
    ("material", "ceramic", (r"도자기|사기|세라믹|\bceramic\b",)),
    ("material", "fabric", (r"천으로|천이|천인|천\s?재질|헝겊|섬유|패브릭|봉제|\b(?:fabric|cloth)\b",)),
    ("material", "leather", (r"가죽|\bleather\b",)),
    ("material", "silicone", (r"실리콘|\bsilicone\b",)),
    ("material", "rubber", (r"고무|\brubber\b",)),
    ("material", "vinyl", (r"비닐|\bvinyl\b",)),
    ("material", "paper", (r"종이|\bpaper\b",)),
)
#: What does not come off there is no dirt: "라벨이 물에 불려도 안 떨어지는".
_NO_DIRT = re.compile(r"(?:라벨|스티커|테이프|송장|뚜껑|마개|철심|나사|못)(?:이|가|은|는|도|을|를)?\s?(?:물에\s?)?$")
#: Of a label that was not taken off, or a stain that stays, nothing is left inside.
_NO_CONTENTS = re.compile(
    r"(?:라벨|스티커|테이프|송장|상표|택|가격표)(?:을|를|도|은)?\s?(?:안\s?)?$|(?:얼룩|자국|냄새|때|색)[이가]?\s?(?:그대로\s?)?$"
)
#: Behind a material that it is not of, or perhaps: "알루미늄 튜브 아니고", "철인지 플라스틱인지 모르겠는데".
_NOT_OF = re.compile(
    r"\s?(?:[가-힣]{1,4}\s?)?(?:이|은|는|가)?\s?(?:아니[고라]|아닌|말고)|"
    r"\s?(?:이|재질이?)?\s?[건인]지\s?[^,.?]{0,14}?\s?(?:모르|몰라|헷갈|애매)"
)
#: Behind a material that only a part of it is of: "쇠못 박힌 나무 팔레트", "플라스틱 손잡이 달린 국자".
_OF_PART = re.compile(
    r"\s?(?:[가-힣]{1,5}?(?:이|가|도)?\s?)?(?:박[힌혀]|달[린려]|붙[은어]|끼[운워])(?=[가-힣]*\s?[가-힣])|"
    r"\s?(?:손잡이|자루|뚜껑|마개|다리|테두리|장식|고리|끈)(?:이|가|도)?\s?있는(?!데)(?=[가-힣]*\s?[가-힣])"
)
#: Behind a material that names the bin: "종이류 맞죠", "플라스틱에 넣어도", "비닐인가요".
_BIN = re.compile(
    r"류(?![가-힣]*\s?(?:컵|통|병))|\s?(?:쓰레기(?!통|봉)|(?:분리)?수거함|칸에|함에)|"
    r"(?:으?로|에다?가?)\s?(?:그냥\s?|같이\s?)?(?:넣|버[려리릴렸]|내[놔놓]|배출|분류|가[야나]|가져)|"
    r"\s?(?:인가[요여]?|입니까|맞[죠지나아][가-힣]*)(?:\s?\?|\s?$|(?=\s?아니면|\s[가-힣]+(?:인가|이?야)))|"
    r"\s?(?:되[나죠요]|돼(?!지))[가-힣]*\s?\?*$|\s?(?:이야|야|예요|에요|이에요|이?죠)\s?(?:\?|(?=[가-힣]+이?야(?:\s?\?|$)))"
)
_PATTERNS = tuple((axis, value, re.compile("|".join(said))) for axis, value, said in _WORDS)


def find(text: str) -> Iterator[tuple[str, str, int, int]]:
    """Every condition said in `text` (canonical), as (axis, value, start, end); of an axis, the decisive one first."""
    for axis, value, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            unless = _NO_DIRT if value == "stuck" else _NO_CONTENTS if value == "remaining" else None
            if unless is None or not unless.search(text, 0, match.start()):
                yield axis, value, match.start(), match.end()


def read(text: str) -> State:
    """The state a citizen described. Axes nobody spoke of stay unknown."""
    said: dict[str, str] = {}
    text = canonical(text)
    for axis, value, _, end in find(text):
        if axis != "material" or not any(other.match(text, end) for other in (_NOT_OF, _OF_PART, _BIN)):
            said.setdefault(axis, value)
    return State(**said)
