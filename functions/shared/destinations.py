"""The one enumeration of where waste can go: its names, what it takes, and how a citizen finds it.

`apartment` and `house` answer "and where is that?": in an apartment complex the bins stand in the recycling corner,
in front of a house the waste is put out on collection day, or carried to a public box. Korean, because citizens read
it; the English name is for the second locale. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Housing(StrEnum):
    """Kind of home: decides where a bin is, and sometimes which."""

    APARTMENT = "apartment"
    HOUSE = "house"


@dataclass(frozen=True, slots=True)
class Destination:
    """One place waste can go. `accepts` lists what belongs there."""

    code: str
    ko: str
    en: str
    accepts: str
    apartment: str
    house: str

    def where(self, housing: str | None) -> str:
        """How to find it for that kind of home; both, where the home is not known."""
        if housing == Housing.APARTMENT:
            return self.apartment
        if housing == Housing.HOUSE:
            return self.house
        return self.apartment if self.apartment == self.house else f"아파트: {self.apartment} / 주택: {self.house}"


_COMMUNITY = "주민센터(행정복지센터)"
_CLEAR_BAG = "품목별로 투명한 봉투에 담아 정해진 요일에 집 앞이나 동네 수거 장소에 내놓으면 돼요."

DESTINATIONS: dict[str, Destination] = {
    d.code: d
    for d in (
        Destination(
            "paper",
            "종이류",
            "Paper",
            "신문, 책, 종이 상자, 종이봉투처럼 코팅과 오염이 없는 종이",
            "재활용 분리수거장의 종이류 칸에 펼쳐서 쌓으면 돼요.",
            "종이끼리 묶거나 상자에 담아 정해진 요일에 내놓으면 돼요. 비 오는 날은 피해 주세요.",
        ),
        Destination(
            "carton",
            "종이팩 전용수거함",
            "Carton bin",
            "우유팩 같은 일반팩과 두유팩 같은 멸균팩",
            f"분리수거장의 종이팩 칸에 넣어요. 칸이 없으면 {_COMMUNITY}의 종이팩 수거함을 이용할 수 있어요.",
            f"{_COMMUNITY}나 동네 종이팩 수거함에 넣어요. 없으면 종이팩끼리 따로 묶어 종이류와 구분되게 내놓아요.",
        ),
        Destination(
            "clear_pet",
            "투명 페트병 전용수거함",
            "Clear PET bin",
            "색이 없는 먹는샘물병과 음료 페트병",
            "분리수거장의 투명(무색) 페트병 전용 칸에 넣으면 돼요.",
            "투명 페트병만 따로 투명한 봉투에 모아 정해진 요일에 내놓으면 돼요.",
        ),
        Destination(
            "plastic",
            "플라스틱류",
            "Plastic",
            "PP, PE, PS, PET 등 한 가지 플라스틱으로 된 용기와 트레이",
            "분리수거장의 플라스틱 칸에 넣으면 돼요.",
            _CLEAR_BAG,
        ),
        Destination(
            "vinyl",
            "비닐류",
            "Plastic film",
            "비닐봉투, 과자·라면 봉지, 포장 비닐, 에어캡",
            "분리수거장의 비닐 칸에 날리지 않게 모아 넣으면 돼요.",
            "비닐끼리 투명한 봉투에 모아 날리지 않게 묶어 정해진 요일에 내놓으면 돼요.",
        ),
        Destination(
            "styrofoam",
            "스티로폼류",
            "Styrofoam",
            "깨끗한 스티로폼 상자와 완충재",
            "분리수거장의 스티로폼 칸에 쌓으면 돼요.",
            "끈으로 묶어 정해진 요일에 내놓으면 돼요.",
        ),
        Destination(
            "glass_bottle",
            "유리병류",
            "Glass bottles",
            "음료수병, 술병, 양념병처럼 깨지지 않은 유리병",
            "분리수거장의 유리병 칸에 깨지지 않게 넣으면 돼요.",
            "깨지지 않게 따로 담아 정해진 요일에 내놓으면 돼요.",
        ),
        Destination(
            "can",
            "캔류",
            "Cans",
            "음료·통조림 캔, 비운 부탄가스통과 스프레이통",
            "분리수거장의 캔 칸에 넣으면 돼요.",
            _CLEAR_BAG,
        ),
        Destination(
            "scrap_metal",
            "고철류",
            "Scrap metal",
            "냄비, 공구, 못, 철사처럼 거의 금속으로 된 물건",
            "분리수거장의 고철(캔) 칸에 넣으면 돼요.",
            "날카롭지 않게 묶거나 봉투에 담아 정해진 요일에 내놓으면 돼요.",
        ),
        Destination(
            "clothing",
            "의류 수거함",
            "Clothing bin",
            "다시 입거나 신을 수 있는 옷, 신발, 가방",
            "단지 안 의류 수거함에 넣으면 돼요.",
            "골목에 있는 의류 수거함에 젖지 않게 넣으면 돼요.",
        ),
        Destination(
            "battery",
            "폐건전지 수거함",
            "Battery box",
            "건전지, 충전지, 보조배터리",
            f"관리사무소나 분리수거장의 폐건전지 수거함에 넣어요. {_COMMUNITY}에도 있어요.",
            f"{_COMMUNITY}나 동네 폐건전지 수거함에 넣어요.",
        ),
        Destination(
            "lamp",
            "폐형광등 수거함",
            "Lamp box",
            "형광등과 전구형·직관형 LED처럼 깨지지 않은 조명",
            f"관리사무소나 분리수거장의 폐형광등 수거함에 깨지지 않게 넣어요. {_COMMUNITY}에도 있어요.",
            f"{_COMMUNITY}나 동네 폐형광등 수거함에 깨지지 않게 넣어요.",
        ),
        Destination(
            "small_appliance",
            "소형가전 수거함",
            "Small appliances",
            "휴대폰, 드라이어, 전기면도기처럼 작은 전기·전자제품",
            f"분리수거장이나 관리사무소의 소형가전 수거함에 넣어요. 없으면 {_COMMUNITY}에 물어보세요.",
            f"{_COMMUNITY}의 소형가전 수거함에 넣어요. 여러 개면 무상방문수거를 신청할 수도 있어요.",
        ),
        Destination(
            "appliance_pickup",
            "폐가전 무상방문수거",
            "Free appliance pickup",
            "냉장고, 세탁기, TV 같은 큰 가전과 여러 개의 작은 가전",
            "인터넷(15990903.or.kr)이나 전화 1599-0903으로 예약하면 집에서 무료로 가져가요.",
            "인터넷(15990903.or.kr)이나 전화 1599-0903으로 예약하면 집에서 무료로 가져가요.",
        ),
        Destination(
            "bulky",
            "대형폐기물",
            "Bulky waste",
            "종량제봉투에 들어가지 않는 가구와 큰 물건",
            "구청·시청에 대형폐기물로 신고하고 수수료를 낸 뒤, 번호나 스티커를 붙여 지정한 곳에 내놓아요.",
            "구청·시청에 대형폐기물로 신고하고 수수료를 낸 뒤, 번호나 스티커를 붙여 집 앞에 내놓아요.",
        ),
        Destination(
            "general",
            "종량제봉투",
            "General waste bag",
            "재활용되지 않는 생활쓰레기",
            "종량제봉투에 담아 단지의 일반쓰레기 수거함에 넣으면 돼요.",
            "종량제봉투에 담아 정해진 요일 저녁에 집 앞에 내놓으면 돼요.",
        ),
        Destination(
            "noncombustible",
            "불연성 종량제봉투(마대)",
            "Non-combustible bag",
            "깨진 유리, 도자기, 내열유리처럼 타지 않는 것",
            f"불연성 쓰레기용 마대(특수규격봉투)를 마트나 {_COMMUNITY}에서 사서 담아 내놓아요.",
            f"불연성 쓰레기용 마대(특수규격봉투)를 마트나 {_COMMUNITY}에서 사서 담아 내놓아요.",
        ),
        Destination(
            "food",
            "음식물류폐기물",
            "Food waste",
            "동물 사료나 퇴비로 쓸 수 있는 음식물",
            "물기를 빼고 단지의 음식물 수거함에 넣으면 돼요.",
            "물기를 빼고 음식물 전용 봉투나 용기에 담아 집 앞에 내놓으면 돼요.",
        ),
        Destination(
            "medicine",
            "폐의약품 수거함",
            "Medicine box",
            "먹거나 바르고 남은 약",
            f"{_COMMUNITY}, 보건소나 가까운 약국의 폐의약품 수거함에 넣어요.",
            f"{_COMMUNITY}, 보건소나 가까운 약국의 폐의약품 수거함에 넣어요.",
        ),
        Destination(
            "hazardous",
            "생활계 유해폐기물",
            "Household hazardous waste",
            "농약, 살충제, 페인트, 접착제처럼 해로운 것",
            f"내용물이 든 채로 {_COMMUNITY}나 구청·시청이 정한 유해폐기물 수거 장소에 가져가요.",
            f"내용물이 든 채로 {_COMMUNITY}나 구청·시청이 정한 유해폐기물 수거 장소에 가져가요.",
        ),
        Destination(
            "cooking_oil",
            "폐식용유 수거함",
            "Used cooking oil",
            "쓰고 남은 식용유",
            "분리수거장의 폐식용유 수거함에 부어 넣으면 돼요.",
            f"{_COMMUNITY}의 폐식용유 수거함을 이용해요.",
        ),
        Destination(
            "ice_pack",
            "아이스팩 수거함",
            "Ice pack box",
            "다시 쓸 수 있는 젤 아이스팩",
            f"단지나 {_COMMUNITY}의 아이스팩 수거함에 넣어요.",
            f"{_COMMUNITY}의 아이스팩 수거함에 넣어요.",
        ),
        Destination(
            "take_back",
            "판매점 회수",
            "Take-back by the seller",
            "새로 살 때 판매점이 되가져가는 타이어, 엔진오일, 큰 가전",
            "새것을 사는 판매점이나 정비소에 돌려주면 돼요.",
            "새것을 사는 판매점이나 정비소에 돌려주면 돼요.",
        ),
        Destination(
            "deposit",
            "빈용기 반환(보증금)",
            "Bottle deposit",
            "소주병, 맥주병처럼 보증금 표시가 있는 병",
            "산 곳이나 가까운 마트, 무인회수기에 돌려주고 보증금을 받아요.",
            "산 곳이나 가까운 마트, 무인회수기에 돌려주고 보증금을 받아요.",
        ),
        Destination(
            "construction",
            "공사장 생활폐기물",
            "Renovation waste",
            "집수리에서 나온 벽돌, 타일, 콘크리트",
            "전용 마대에 담아 구청·시청에 신고하거나, 양이 많으면 처리업체에 맡겨요.",
            "전용 마대에 담아 구청·시청에 신고하거나, 양이 많으면 처리업체에 맡겨요.",
        ),
        Destination(
            "specialist",
            "전문 처리",
            "Specialist disposal",
            "방사성 물질이 든 제품처럼 따로 처리해야 하는 것",
            "버리지 말고 구청·시청 청소 부서에 전화해 안내를 받아 주세요.",
            "버리지 말고 구청·시청 청소 부서에 전화해 안내를 받아 주세요.",
        ),
    )
}

#: Segment of an official class → the destinations it allows. Electronics go three ways; "기타" is a mixed bag.
OFFICIAL: dict[str, frozenset[str]] = {
    "종이": frozenset({"paper"}),
    "종이팩": frozenset({"carton"}),
    "무색페트병": frozenset({"clear_pet"}),
    "합성수지 용기류": frozenset({"plastic"}),
    "합성수지 비닐류": frozenset({"vinyl"}),
    "발포합성수지(스티로폼 등)": frozenset({"styrofoam"}),
    "유리병": frozenset({"glass_bottle"}),
    "빈용기보증금 대상 유리병": frozenset({"deposit"}),
    "금속캔": frozenset({"can"}),
    "기타캔류": frozenset({"can"}),
    "고철": frozenset({"scrap_metal"}),
    "의류 및 원단": frozenset({"clothing"}),
    "전지류": frozenset({"battery"}),
    "조명제품": frozenset({"lamp"}),
    "전기전자 제품류": frozenset({"small_appliance", "appliance_pickup", "take_back"}),
    "대형폐기물": frozenset({"bulky"}),
    "일반종량제폐기물": frozenset({"general"}),
    "불연성종량제폐기물": frozenset({"noncombustible"}),
    "음식물류폐기물": frozenset({"food"}),
    "폐의약품": frozenset({"medicine"}),
    "폐농약": frozenset({"hazardous"}),
    "폐페인트, 폐광택제, 폐접착제": frozenset({"hazardous"}),
    "수은함유 폐기물": frozenset({"hazardous"}),
    "천연방사성제품": frozenset({"specialist"}),
    "공사장 생활폐기물": frozenset({"construction"}),
    "기타": frozenset({"cooking_oil", "ice_pack", "take_back", "hazardous"}),
}


def segments(official_class: str) -> list[str]:
    """The alternatives of an official class: "재활용폐기물 > 종이" → ["재활용폐기물", "종이"]."""
    return [part.strip() for part in official_class.split(">")]


def allowed_by(official_class: str) -> frozenset[str]:
    """Destination codes an official class stands for."""
    return frozenset().union(*(OFFICIAL.get(segment, frozenset()) for segment in segments(official_class)))
