"""Whether a question is about throwing something away, or wants something else of the thing: to buy, use or cook it.

A thing's name alone does not say it: "바이올린" is asked about, "바이올린 학원" is not. What is said around
the names does, whatever they are; how people say it was learnt from the practice questions (`topics.bin`). Standard
library only.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from functools import cache
from pathlib import Path

from functions.shared import hangul

FILE = Path(__file__).with_name("topics.bin")
#: A sentence is known by its runs of up to so many letters, each counted in one of so many places.
RUN, PLACES = 4, 1 << 13
#: Stands for a name. The file: the scale of its weights, their bias, a signed byte for each place.
NAME, HEAD = "□", struct.Struct("<ff")

_DISPOSAL = (
    r"(?<!지워)(?<!잊어)(?<!먹어)(?<!놓쳐)(?<!꺼)버[려리릴렸린림]|(?<!돈 )(?<!다리 )(?<!입 )벌[리이]는\s?방?[법볍]",
    r"배출|분리\s?(?:수거|배출)|재활용|수거(?!리)|폐기|쓰레기|처분|처리|내놓|내다\s?놓|[일음]쓰(?![가-힣]{2})",
    r"(?:종이|플라스틱|비닐|일반|고철|캔|종량제|유리|스티로폼|소형가전|대형|불연성|음식물)(?:류|함|통|봉투)?\s?"
    r"(?:임|인가|인지|맞|행(?=\s|\?|$)|이야|이에요|로\s?(?:가|분류)|에\s?(?:넣|담))",
    r"떼[야나도어]|떼서|분리|씻어야|헹[구궈]|(?:넣어|내놔|내어|내|넣으면|모아|가져가)도?\s?(?:되|돼|됨)|가져가|갖다\s?주|어따|"
    r"(?<![가-힣])(?:뭘로|무슨\s?류|어디에?다가?\s?(?:넣|둬|두|놓|내))|(?:수거|의류|헌옷|건전지|소형가전)함|종류에요",
    r"\b(?:dispos|recycl|throw|trash|garbage|discard|get rid|sort|goes? in|bin\b)",
)

#: What else people want of things, a line for each wish.
_OTHER = (
    # to do anything but throw it away
    r"[가-힣]는\s?(?:법|방법|요령|순서|팁)(?![가-힣])",
    # to buy or sell
    r"(?<![가-힣])(?:사요|사나요|사지|사야|살까|살지)|뭐\s?사|사고\s?싶|살\s?수|사는\s?(?:곳|데|법)|파나요|파는|어디서\s?(?:사|팔|구)|구매|사면\s?(?:되|돼|좋|안)|"
    r"구입|판매(?!점)|가격|값(?:이|은)|얼마(?!나)|시세|(?:제일|더|가장)\s?(?:싸|싼)|싼\s?(?:곳|데|거)|최저가|할인|쿠폰|세일|직구|주문|배송\s?(?:조회|언제|기간|비)",
    # to choose
    r"추천|순위|후기|리뷰|비교|차이(?:가|점|는)?(?:\s|$|\?)|브랜드|(?:뭐|어디|어느\s?게|어떤\s?게|어떤\s?거)(?:가|이)?\s?(?:제일\s?|더\s?)?(?:좋|나[아은을]|싸|맛있)|인기|"
    r"(?:크기|길이|무게|온도|종류|규격|용량|수명)(?:가|는|이|은)?\s?(?:\?|$|좀|알려|어떻게|비교|종류|몇|재)",
    # to use or set up
    r"(?:사용|작동|설치|조립|연결|충전|착용)\s?(?:법|방법|순서|시간|비용)|쓰는\s?(?:법|방법)|설정|페어링|업데이트|와이파이\s?(?:안|연결|비번|설정)|비밀번호|"
    r"인식\s?안|볼륨|드라이버\s?설치",
    # to repair, or to return to the seller
    r"고치는|고치려|수리|(?<![a-z])a/?s(?![a-z])|교체\s?(?:비|방법|주기|시기|가격|해|하는)|보증|환불|부품\s?(?:구|파|교체|값)|비용",
    r"(?:물\s?이?\s?(?:안\s?(?:빠질|나올|내려갈)|샐)|(?:안|못)\s?(?:켜질|꺼질|움직일|돌아갈|충전될)|막[혔힐]을?)\s?때(?:는|는요|요)?\s?(?:\?|$)",
    # to clean, to wash, to keep
    r"(?:청소|세탁|소독|제거|관리|보관|세척|해동|손질)\s?(?:하는\s?)?(?:법|방법|주기|기간)|물때|(?:얼룩|냄새|곰팡이|녹)\s?(?:제거|빼|없애|지우)|"
    r"길들이|(?:세척|청소|세탁|빨래|소독|관리)\s?(?:은|는|을|를)?\s?(?:어떻게|온도|주기|몇)",
    # how it is done, and nothing after it
    r"어떻게\s?(?:(?:닦|빨|고치|켜|끄)(?:나요?|죠|지|니)|(?:닦아|빨아|고쳐|켜|꺼)요?|"
    r"(?:수리|청소|세탁|보관)(?:하나요?|해요?|하죠|하지|할까요?))\s?(?:\?|$)",
    # to cook, to eat, to take
    r"레시피|요리|(?:끓이|굽|볶|삶|찌|튀기|무치|절이|담그|우리|까)는\s?(?:법|방법|시간)|몇\s?분|맛있|먹는\s?(?:법|방법|양)|칼로리|영양\s?성분|"
    r"효능|효과|부작용|복용|식전|식후|공복|먹어도|먹나(?!\s?버)|마셔도|제철|단백질\s?함량|몇\s?알",
    # to make, to grow
    r"만들기|만드는|만들\s?수|만들어\s?(?:줘|보)|그리기|그리는|접는\s?(?:법|방법)|도안|키우는|심는|기르|재배|수확",
    # how much, when, why, whether it does harm
    r"몇\s?(?:시간|분|개월|달|주|도|살|ml|미리|리터|그램|g|킬로|kg|센치|센티|cm|인치|개까지|알|번|명|층|원|와트|볼트)|며칠|언제|시기|개월\s?수|"
    r"왜\s?(?:이러|그러|안|자꾸)|이유|원인|에러|오류|증상|해로[운워]|해롭|몸에|건강|살찌|살\s?빠지|중독|알레르기|발진|두드러기",
    r"(?:먹|얼려|돌려|발라|붙이고|써|입어|신어|타|데워|섞어|뿌려|만져|키워)도\s?(?:되|돼|됨|괜찮)|먹으면|마시면|바르면|먹었[어는을]|먹는게|"
    r"들고\s?(?:탈|타)|수하물|기내|면허|신고(?!하고\s?버)|잃어버|분실|주차|운전|충전\s?(?:중|안)|방전\s?됐을",
    # to know
    r"뜻이|무슨\s?(?:뜻|말)|영어로|일본어로|번역|역사|원리|발명|꿈\s?해몽|이름이|몇\s?살|언제\s?나|유래",
    # to live: news, money, travel, learning, leisure
    r"날씨|미세먼지|주가|주식|환율|뉴스|당첨\s?(?:번호|확인|금|되)|번호\s?(?:추천|예측)|예[약매]|번호\s?좀|가입|보험|요금|대출|취업|알바|학원|과외|레슨|배우|맛집|공휴일|일정|"
    r"시간표|영업\s?시간|반입|비자|경기\s?(?:결과|일정)|중계|노래|가사|영화|드라마|공략|운세|점수|"
    r"출시|신제품|"
    r"비율|순서|위치|방지|접기|분갈이|물주기|코디|꾸미|예쁜|캡[처쳐]|줄거리|산책|훈련|"
    r"공부|숙제|시험|여행(?!\s?(?:용|가방))|"
    r"(?<![퀸킹빅대소중슈])\s사이즈|치수|연습(?!용|장)|취미|악보|기록|선수",
    r"\b(?:weather|price|buy|sell|recipe|capital of|translate|cheap|best|review|repair|fix)\b",
    r"\bhow to (?:use|make|cook|clean|play)\b",
)

_ABOUT_DISPOSAL = re.compile("|".join(_DISPOSAL))
_ABOUT_OTHERS = re.compile("|".join(_OTHER))


def disposal(text: str) -> bool:
    """Whether `text` (canonical) speaks of throwing away at all; a bare name does not, and need not."""
    return bool(_ABOUT_DISPOSAL.search(text))


def other(text: str) -> bool:
    """Whether it wants something else of the thing."""
    return not disposal(text) and bool(_ABOUT_OTHERS.search(text))


def elsewhere(around: str) -> float:
    """How likely something else is wanted, 0 to 1. `around`: the sentence, a NAME for each name of a thing in it."""
    scale, bias, weights = _learnt()
    places = runs(around)
    return 1 / (1 + math.exp(-bias - scale * sum(weights[place] for place in places) / math.sqrt(len(places) or 1)))


def runs(around: str) -> set[int]:
    """The places of all runs of letters; word ends count as letters."""
    found = hangul.runs(f" {around} ", range(1, RUN + 1))
    return {zlib.crc32(run.encode()) % PLACES for run in found if run.strip()}


@cache
def _learnt() -> tuple[float, float, memoryview]:
    data = FILE.read_bytes()
    return *HEAD.unpack_from(data), memoryview(data)[HEAD.size :].cast("b")
