"""The search: what it finds, what it asks, what it refuses, and which rules it gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from functions.setup.compiled import Corpus, load
from functions.setup.index import build
from functions.shared import topics, wording
from functions.shared.conditions import State, read
from functions.shared.decisions import said
from functions.shared.embeddings import DIMENSIONS, E5, Embedder, EmbeddingFailed
from functions.shared.findings import Finding
from functions.shared.hangul import normal, sound
from functions.shared.matching import FEATURES, NONE_FEATURES, Match, described
from functions.shared.parts import Parts
from functions.shared.phrases import CONDITION, Reading
from functions.shared.postgres import Database, Unavailable
from functions.shared.search import Found, Rulebook
from knative.local.parts import Addresses
from tests.conftest import copied, migrated
from tests.rag import wordings
from tests.rulebooks import LetterPairs
from tests.test_index import quiet

CORPUS = Path(__file__).parents[1] / "rag-index" / "corpus"
TODAY = date(2026, 11, 25)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load(CORPUS, TODAY)


@pytest.fixture(scope="module")
def known(corpus: Corpus) -> tuple[frozenset[str], Parts]:
    """All names, and what is said behind them."""
    return corpus.names()


@pytest.fixture(scope="module")
def database(servers: Addresses, indexed_url: str) -> Iterator[Database]:
    database = Database(copied(servers, indexed_url))
    yield database
    database.close()


@pytest.fixture(scope="module")
def rulebook(database: Database) -> Rulebook:
    return Rulebook(database, None)


def first(found: Found) -> tuple[str, str, list[str]]:
    return found.decision, found.candidates[0].id, found.candidates[0].destinations


# --- names
# -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "유리병",
        "캔",
        "종이 상자",
        "종이",
        "플라스틱 용기",
        "투명 페트병",
        "비닐봉지",
        "과자 봉지",
        "물병",
        "와인병",
        "맥주병",
        "음료수병",
        "약통",
        "종이팩",
        "편지봉투",
        "골판지",
        "컵",
        "머그컵",
        "유리",
        "금속",
        "쓰레기",
        "병",
        "봉지",
    ],
)
def test_what_a_picture_can_say_lands_on_an_item(rulebook: Rulebook, name: str) -> None:
    assert rulebook.search(name).decision in ("match", "ambiguous")


@pytest.mark.parametrize(
    ("text", "item", "codes"),
    [
        ("투명페트병", "clear-pet-bottle", ["clear_pet"]),
        ("패트병은 어디에 버려요?", "clear-pet-bottle", ["clear_pet"]),
        ("초록색 페트병", "coloured-pet-bottle", ["plastic"]),
        ("페트병 뚜껑", "pet-cap", ["clear_pet"]),
        ("기름 묻은 피자박스 어떻게 버려요", "pizza-box", ["general"]),
        ("기름묻은피자박스어떻게버려요", "pizza-box", ["general"]),
        ("피자 먹고 남은 깨끗한 상자", "pizza-box", ["paper"]),
        ("우유팩 종이팩 수거함이 없어요", "milk-carton", ["paper"]),
        ("깨진 유리컵", "glass-cup", ["noncombustible"]),
        ("유리병이 깨졌어요", "glass-bottle", ["noncombustible"]),
        ("부푼 보조밧데리", "power-bank", ["battery"]),
        ("보조베터리", "power-bank", ["battery"]),
        ("치킨 뼈 음식물인가요 일반쓰레기인가요", "bones", ["general"]),
        ("반쯤 남은 부탄가스", "butane-can", ["can"]),
        ("달걀 껍질", "eggshell", ["general"]),
        ("블루트스이어폰", "earphones", ["small_appliance"]),
        ("가위", "scissors", ["general", "scrap_metal"]),
        ("how do I recycle a milk carton?", "milk-carton", ["carton"]),
    ],
)
def test_a_name_said_in_any_way_is_found(rulebook: Rulebook, text: str, item: str, codes: list[str]) -> None:
    assert first(rulebook.search(text)) == ("match", item, codes)


@pytest.mark.parametrize(
    "text",
    [
        "오늘 날씨 어때",
        "삼성전자 주가",
        "휴대폰 요금제 추천해줘",
        "신발 사이즈",
        "김치찌개 끓이는 법",
        "요가매트 두께",
        "신문 구독 해지",
        "우라늄",
        "ㅋㅋㅋ",
        "",
        "?!",
        "a" * 5000,
    ],
)
def test_what_is_not_about_waste_is_refused(rulebook: Rulebook, text: str) -> None:
    found = rulebook.search(text)
    assert found.decision == "not_found"
    assert found.question is None


def test_the_same_name_with_other_words_around_it_is_answered(rulebook: Rulebook) -> None:
    assert rulebook.search("요가매트 버리는 법").decision == "match"
    assert rulebook.search("신문 한 뭉치").decision == "match"


def test_what_is_said_around_the_names_is_known_whatever_they_are() -> None:
    names = {sound("요가매트"), sound("신문")}
    assert Reading("요가매트 2개 두께는?", names).around == "□ 0개 두께는?"
    assert Reading("", names).around == ""
    assert topics.elsewhere(Reading("신문 두께", names).around) == topics.elsewhere("□ 두께") > 0.5
    assert topics.elsewhere(Reading("신문 부러짐", names).around) < 0.5


def test_what_is_dealt_with_is_not_what_is_asked_about() -> None:
    names = frozenset(sound(name) for name in ("포스터", "압정", "우유팩"))

    def done(text: str) -> list[bool]:
        reading = Reading(text, names)
        return [reading.place(span).done for span in reading.said]

    assert done("포스터는 떼서 종이에 버렸고 벽에 꽂았던 압정은요") == [True, False]
    assert done("우유팩 말고 압정") == [True, False]
    assert done("우유팩 버렸는데 괜찮아요?") == [False]


@pytest.mark.parametrize(
    ("text", "names", "found"),
    [
        ("물 새는 세탁기", ("물", "세탁기"), ["세탁기"]),
        ("아이스팩 새는 경우 어떻게 버려요", ("아이스팩",), ["아이스팩"]),
        ("앵무새는 죽었을 때 어떻게 해요", ("앵무새",), ["앵무새"]),
        ("낡은 소파 폐기물 스티커 얼마", ("소파", "스티커"), ["소파"]),
        ("다이소에서 스티커 사서 남은 거", ("스티커",), ["스티커"]),
        ("당근에 올린 소파", ("당근", "소파"), ["소파"]),
        ("냉장고에서 썩은 당근", ("당근",), ["당근"]),
        ("세탁망 벌리는법", ("세탁망",), ["세탁망"]),
    ],
)
def test_what_is_dirty_or_traded_with_is_not_what_is_asked_about(
    text: str, names: tuple[str, ...], found: list[str]
) -> None:
    reading = Reading(text, {sound(name) for name in names})
    assert [reading.letters[span.start : span.end] for span in reading.said] == found


def test_the_wording_alone_points_to_an_item() -> None:
    def best(text: str) -> str:
        shares = wording.likely(text)
        assert sum(shares.values()) == pytest.approx(1)
        return max(shares, key=lambda item: shares[item])

    assert best("다 쓴 건전지 버리는 곳") == best("다쓴건전지버리는곳") == "battery"
    assert best("잼은 다 먹었고 병뚜껑만 남았어요 쇠로 된 거") == "metal-cap"
    assert best("냉장고 어디서 사는 게 싸요?") == wording.OTHER
    assert wording.likely(" ") == {}


def test_the_wording_knows_every_item(corpus: Corpus) -> None:
    known = wording.likely("통").keys() - {wording.OTHER, wording.UNSAID}
    assert known == {row.id for row in corpus.items if row.kind == "item"}, "python rag-index fit"


def test_an_embedding_adds_to_the_wording_of_the_model_that_was_learnt_with(embedding_url: str) -> None:
    text = "운동화 바닥 다시 붙이는 데 있나"
    vector = Embedder(embedding_url, "test", E5, timeout=120).query([text])[0]
    alone, both = wording.likely(text), wording.likely(text, vector, E5)
    assert sum(both.values()) == pytest.approx(1)
    assert both != alone
    assert wording.likely(text, vector, "other-model") == alone
    assert both[wording.OTHER] > 0.5
    assert both[wording.OTHER] > alone[wording.OTHER]


def test_the_wording_is_learnt_with_and_without_an_embedding(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """What is written is what is read: rows, columns, what a step is worth, and what every embedding adds."""
    request.addfinalizer(wording._learnt.cache_clear)
    monkeypatch.setattr(wording, "FILE", tmp_path / "wording.bin")
    wording._learnt.cache_clear()
    few = replace(corpus, items=[row for row in corpus.items if row.id in {"umbrella", "receipt", "battery"}])
    practice = [
        {"question": "우산살 고쳐 주는 데", "decision": "not_found", "item": "", "kind": "pairs"},
        {"question": "이거 어디다 버려요", "decision": "ambiguous", "item": "", "kind": "vague"},
    ]
    embedder = LetterPairs("pairs")
    assert "about 5 items" in wordings.learn(few, practice * 9, embedder)
    for text, meant in (("접이식 우산", "umbrella"), ("건전지", "battery"), (practice[0]["question"], wording.OTHER)):
        alone, both = wording.likely(text), wording.likely(text, embedder.query([text])[0], "pairs")
        assert max(alone, key=lambda item: alone[item]) == max(both, key=lambda item: both[item]) == meant, text
        assert both[meant] > alone[meant], text
    unsaid = wording.likely("이거 어디다 버려요", embedder.query(["이거 어디다 버려요"])[0], "pairs")
    assert max(unsaid, key=lambda item: unsaid[item]) == wording.UNSAID
    (tmp_path / "wording.bin").write_bytes((tmp_path / "wording.bin").read_bytes()[:-4])
    wording._learnt.cache_clear()
    with pytest.raises(ValueError, match="rag-index fit"):
        wording.likely("우산")


def test_a_material_is_denied_only_where_it_is() -> None:
    tube: Any = {
        "by": "material",
        "options": [
            {"values": ["metal"], "words": ["알루미늄", "쇠"], "then": {"to": ["scrap_metal"]}},
            {"values": ["wood"], "words": ["나무"], "then": {"to": ["general"]}},
        ],
    }
    assert said(tube, "알루미늄튜브아니고플라스틱튜브") == {}
    assert said(tube, "나무말고쇠로된거") == {"material": "metal"}
    assert said(tube, "알루미늄인데쇠로된거말고나무로된거말고") == {"material": "metal"}
    magnet: Any = {**tube, "options": [{"values": ["metal"], "words": ["자석에붙"], "then": {"to": ["scrap_metal"]}}]}
    assert said(magnet, "자석에붙는것") == {"material": "metal"}
    assert said(magnet, "자석에붙지않는것") == said(magnet, "자석에붙지도않음") == {}
    assert said(tube, "나무고쇠아니고") == {"material": "wood"}


def test_a_word_of_a_table_is_not_part_of_another() -> None:
    table: Any = {
        "by": "dirt",
        "options": [{"values": ["stuck"], "words": ["물들", "국물밴", "씻은", "은박"], "then": {"to": ["general"]}}],
    }
    for other in ("선물 들어 있던 상자", "해산물 들어 있던 상자", "국물들었던그릇", "안 씻은 그릇"):
        assert said(table, normal(other)) == {}, other
    for stained in ("빨갛게 물들었어요", "물 들었어요", "김치국물 밴 상자", "김치물 들었는데", "용기 안 은박"):
        assert said(table, normal(stained)) == {"dirt": "stuck"}, stained


def test_what_is_near_and_what_is_worded_is_shared_among_the_candidates() -> None:
    rows: list[dict[str, Any]] = [
        {"id": "lid", "kind": "item", "doc": {}, "hits": None, "crowd": [0.5, 0.5, 0.5]},
        {"id": "jar", "kind": "item", "doc": {}, "hits": None, "crowd": [0.5]},
        {"id": "pan", "kind": "item", "doc": {}, "hits": None, "crowd": None},
        {"id": "tap", "kind": "item", "doc": {}, "hits": None, "crowd": None},
    ]
    near = {"lid": 0.8, "jar": 0.9, "pan": -0.2, "tap": -0.2}
    worded = {"lid": 0.4, "jar": 0.2, "pan": 0.1, wording.OTHER: 0.1}
    found, none = described(Reading("유리 단지 덮개", frozenset()), rows, near, worded)
    seen = {item: dict(zip(FEATURES, features, strict=True)) for item, features in found.items()}
    assert seen.keys() == {"lid", "jar", "pan"}  # what is far and not worded is no candidate
    assert [seen[item]["crowd"] for item in seen] == pytest.approx([0.75, 0.25, 0])
    assert [seen[item]["worded"] for item in seen] == pytest.approx([0.5, 0.25, 0.125])
    assert seen["lid"]["worded_at_all"] > seen["jar"]["worded_at_all"] > seen["pan"]["worded_at_all"] > 0
    assert dict(zip(NONE_FEATURES, none, strict=True))["worded"] == 0.1


def test_a_part_asked_about_alone_is_the_part(rulebook: Rulebook) -> None:
    assert rulebook.search("샴푸통 펌프는 따로 버려야 하나요").candidates[0].id == "pump"
    assert rulebook.search("소주병 뚜껑 부분만 따로 어디에 버려요").candidates[0].id == "metal-cap"


@pytest.mark.parametrize(
    ("text", "item", "codes"),
    [
        ("돌돌이 종이", "tape-cleaner--tape", ["general"]),
        ("다이소 돌돌이 다 쓴거 먼지 묻은 종이", "tape-cleaner--tape", ["general"]),
        ("두부용기 위에 비닐 뚜껑", "tofu-container--film", ["vinyl"]),
        ("키보드 키캡만", "keyboard--keycaps", ["general"]),
        ("두부용기", "tofu-container", ["plastic"]),
        ("두부용기 비닐 안 떼지는데", "tofu-container", ["plastic"]),
        ("키보드 키캡까지 통째", "keyboard", ["small_appliance"]),
        ("돌돌이 종이 떼어낸 거", "tape-cleaner--tape", ["general"]),
        ("린스통 펌프", "conditioner-bottle--pump", ["general"]),
        ("공책에서 빼낸 쇠 스프링", "notebook--spring", ["scrap_metal"]),
        ("돌돌이 쓰고난 종이", "tape-cleaner--tape", ["general"]),
        ("보조배터리 사고 남은 박스", "power-bank--box", ["paper"]),
        ("폼롤러 싸여온 비닐", "packaging-film", ["vinyl"]),
        ("빨래 바구니 속 천만", "laundry-basket--liner", ["general"]),
        ("매트리스 뜯어서 나온 스프링만", "mattress--spring", ["scrap_metal"]),
    ],
)
def test_a_part_with_words_is_found_where_it_is_named_and_nothing_is_told_of_the_whole(
    rulebook: Rulebook, text: str, item: str, codes: list[str]
) -> None:
    assert first(rulebook.search(text)) == ("match", item, codes)


@pytest.mark.parametrize(
    "text", ["돌돌이랑 신문지 종이", "키보드 말고 마우스 키캡", "에프킬라 바스켓", "두부용기로 화분 만들려는데 비닐"]
)
def test_what_stands_between_a_whole_and_a_part_may_be_another_matter(rulebook: Rulebook, text: str) -> None:
    found = rulebook.search(text)
    assert not (found.decision == "match" and "--" in found.candidates[0].id), found.candidates


def test_how_much_there_is_what_it_is_like_and_what_is_asked_is_no_name(known: tuple[frozenset[str], Parts]) -> None:
    for text, named in (
        ("나사 한 봉지", ["나사"]),
        ("마스크 두세 박스", ["마스크", "박스"]),
        ("손톱만한 통", ["통"]),
        ("우유팩처럼 생긴 두유팩", ["두유팩"]),
        ("캔 같이 생수병이랑 버려도 되나요", ["캔", "생수병"]),
        ("화목난로 재활용 되나요", ["화목난로"]),
    ):
        reading = Reading(text, *known)
        assert [reading.letters[span.start : span.end] for span in reading.said] == named, text


@pytest.mark.parametrize(
    "text",
    [
        "유리컵 뽁뽁이로 싸서 버려도 되나요", "이불 비닐봉지 안에 넣어서 버려요", "거울 박스로 싸서 버려요",
        "우비 비닐 재활용", "컵 스티로폼", "종이에 싼 유리 조각만 버려요", "가위로 자른 상자", "된장 흘린 비닐",
        "테이프 덕지덕지 붙은 박스", "가방 천만 원짜리", "종이컵 종이만 재활용 되나요", "텀블러 살 때 받은 상자",
    ],
)  # fmt: skip
def test_what_a_thing_is_put_into_or_made_of_and_what_sticks_to_it_is_no_part_of_it(
    known: tuple[frozenset[str], Parts], text: str
) -> None:
    assert Reading(text, *known).parts == {}


def test_every_word_for_a_part_is_found_behind_a_name_of_the_whole(known: tuple[frozenset[str], Parts]) -> None:
    keys, parts = known
    wholes = {item: (key, name) for key, (item, name) in sorted(parts.wholes.items()) if len(key) < 12}
    tried, missed = 0, list[str]()
    for item, (whole, name) in wholes.items():
        for word, (part, written) in parts.words.get(item, {}).items():
            reading = Reading(f"{name} {written}", keys, parts)
            if whole + word not in parts.others and CONDITION not in reading.roles:  # "헝겊 심": of cloth
                tried += 1
                said_parts = {reading.parts[span.key][0] for span in reading.said if span.key in reading.parts}
                missed += [reading.text] * (part not in said_parts)
    assert tried > 5000
    assert len(missed) < 5, missed


def test_a_part_has_rules_of_its_own_and_is_no_line_in_the_list_of_all(rulebook: Rulebook) -> None:
    part = rulebook.item("tape-cleaner--tape")
    assert part is not None
    assert part.name.startswith("테이프클리너 ")
    assert {"general"} == {rule.destination for rule in rulebook.rules(part.id) if rule.destination}
    assert not [entry for entry in rulebook.entries() if "--" in entry.id]


def test_a_bare_word_for_several_things_is_never_refused(rulebook: Rulebook) -> None:
    for word in ("통", "컵", "병", "줄"):
        assert rulebook.search(word).decision == "ambiguous", word


def test_nothing_named_is_asked_for_before_anything_else() -> None:
    def decided(unsaid: float, *matches: Match, none: float = 0.05) -> Found:
        finding = Finding(
            reading=Reading("이거"), state=State(), region=None, housing=None, on=TODAY, limit=5, unsaid=unsaid
        )
        leaf = {"to": ["general"], "family": "general-family"}
        doc = {"decide": leaf, "parts": [], "regional": []}
        finding.add([{"id": "sponge", "kind": "item", "name_ko": "수세미", "name_en": "Sponge", "doc": doc}])
        return finding.decide(matches, none)

    likely, faint = Match("sponge", 0.9), Match("sponge", 0.0001)
    assert decided(0.0, likely).decision == "match"
    for found in (decided(0.9), decided(0.9, likely), decided(0.9, faint, none=0.9)):
        assert (found.decision, found.unsaid) == ("ambiguous", True)
        assert found.question
        assert found.question.options == []
    assert decided(0.0, faint, none=0.9999).decision == "not_found"


def test_what_is_told_of_stains_and_cleaning_is_not_taken_for_more() -> None:
    assert read("pizza box with oil stains").dirt == "oily"
    assert read("kimchi box with red stain").dirt == "dirty"
    for clean in ("shirt with no stains", "pizza box without oil stains", "glass jar, stains removed"):
        assert read(clean).dirt not in {"dirty", "oily"}, clean
    for disposal in ("하드디스크 어떻게 지우고 내놔요", "깨진 유리 어떻게 보관했다가 내요", "병 어떻게 닦고 내나요"):
        assert not topics.other(disposal), disposal


def test_how_to_clean_it_is_another_question(rulebook: Rulebook) -> None:
    assert rulebook.search("스텐냄비 까맣게 탄 거 어떻게 닦아요").decision == "not_found"
    assert rulebook.search("스텐냄비 어떻게 닦아서 버려요").candidates[0].id == "pot"


def test_a_thing_that_follows_is_not_the_thing_before_it(rulebook: Rulebook) -> None:
    assert rulebook.search("칫솔 케이스").decision != "match"
    assert rulebook.search("고무장갑").decision == "match"


def test_a_typo_is_not_taken_for_a_longer_word(rulebook: Rulebook) -> None:
    assert rulebook.search("냉장고 온도").decision == "not_found"


# --- questions
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("전축이랑 레코드판 각각 어떻게 버려요", {"old-stereo": "appliance_pickup", "vinyl-record": "general"}),
        ("양은냄비하고 나무주걱 같이 내놔도 되나", {"pot": "scrap_metal", "wooden-utensil": "general"}),
        ("우유팩, 종이컵", {"milk-carton": "carton", "paper-cup": "paper"}),
        ("보조배터리랑 충전 케이블 둘 다 버릴래", {"power-bank": "battery", "cable": "small_appliance"}),
    ],
)
def test_of_several_things_asked_about_at_once_each_is_answered(
    rulebook: Rulebook, text: str, things: dict[str, str]
) -> None:
    found = rulebook.search(text)
    assert found.decision == "match"
    assert [candidate.id for candidate in found.candidates[: len(things)]] == list(things)
    assert [part.destination for part in found.parts] == list(things.values())
    assert found.together
    assert [option.item_id for option in found.together.options] == list(things)


@pytest.mark.parametrize(
    "text", ["머리끈이랑 같이 산 실핀", "송장하고 테이프 붙어 있는 택배 박스", "칫솔 케이스", "우유팩 말고 종이컵"]
)
def test_what_is_merely_named_beside_a_thing_is_not_asked_about(rulebook: Rulebook, text: str) -> None:
    assert rulebook.search(text).together is None


def test_of_several_things_none_is_answered_where_one_is_still_open(rulebook: Rulebook) -> None:
    assert rulebook.search("건전지하고 전기장판").together
    assert rulebook.search("건전지하고 컵").together is None


def test_what_is_told_of_one_of_several_things_is_not_told_of_the_others(rulebook: Rulebook) -> None:
    found = rulebook.search("깨진 유리컵이랑 우산")
    assert found.together
    assert [option.state.get("material") for option in found.together.options] == ["glass", None]


@pytest.mark.parametrize(("text", "codes"), [("접시 깨졌어요", ["noncombustible"]), ("컵 금 감", ["noncombustible"])])
def test_what_breaks_is_of_glass_or_china(rulebook: Rulebook, text: str, codes: list[str]) -> None:
    found = rulebook.search(text)
    assert (found.decision, found.candidates[0].destinations) == ("match", codes)
    assert rulebook.search(text.split(maxsplit=1)[0]).decision == "ambiguous"
    plastic = rulebook.search(f"플라스틱 {text}")
    assert plastic.decision == "ambiguous" or plastic.candidates[0].destinations == ["plastic"]
    assert rulebook.search(f"못 쓰는 {text.split(maxsplit=1)[0]}").decision == "ambiguous"


def test_a_name_is_found_behind_a_state_that_is_written_together_with_it(rulebook: Rulebook) -> None:
    for text in ("들기름묻은키친타올", "들기름묻은키친타올은"):
        assert first(rulebook.search(text)) == ("match", "kitchen-towel", ["general"])


def test_a_word_for_several_things_asks_which(rulebook: Rulebook) -> None:
    found = rulebook.search("컵")
    assert found.decision == "ambiguous"
    assert found.question
    assert found.question.text["ko"] == "어떤 컵인가요?"
    assert [option.item_id for option in found.question.options] == ["paper-cup", "takeaway-cup", "glass-cup", "mug"]
    assert [candidate.id for candidate in found.candidates] == ["paper-cup", "takeaway-cup", "glass-cup", "mug"]


def test_the_state_that_decides_is_asked_for_and_its_answer_decides(rulebook: Rulebook) -> None:
    found = rulebook.search("피자 상자")
    assert found.decision == "ambiguous"
    assert found.question
    assert found.candidates[0].destinations == ["paper", "general"]
    outcomes = [
        {rule.destination for rule in rulebook.rules(option.item_id, State.of(option.state)) if rule.phase == "dispose"}
        for option in found.question.options
    ]
    assert outcomes == [{"paper", None}, {"general", None}]


def test_a_given_state_decides_and_words_outweigh_it(rulebook: Rulebook) -> None:
    clean = State(dirt="clean")
    assert first(rulebook.search("피자 상자", state=clean)) == ("match", "pizza-box", ["paper"])
    assert first(rulebook.search("기름 밴 피자 상자", state=clean)) == ("match", "pizza-box", ["general"])


def test_parts_that_go_elsewhere_are_named(rulebook: Rulebook) -> None:
    parts = {part.name: part.destination for part in rulebook.search("샴푸통").parts}
    assert parts == {"펌프": "general"}


def test_a_region_has_its_own_way(rulebook: Rulebook) -> None:
    assert first(rulebook.search("노끈")) == ("match", "twine", ["general"])
    assert first(rulebook.search("노끈", region="서울시 강남구")) == ("match", "twine", ["vinyl"])
    assert first(rulebook.search("노끈", region="서울 강남구", on=date(2024, 6, 30))) == ("match", "twine", ["general"])
    seoul = [rule.id for rule in rulebook.rules("twine", region="서울 강남구")]
    assert "seoul-film.dispose.1" in seoul
    assert "twine.dispose.general" not in seoul


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("기름 묻은", {"dirt": "oily"}),
        ("안 씻은", {"dirt": "dirty"}),
        ("깨끗한", {"dirt": "clean"}),
        ("고추장 묻은", {"dirt": "dirty"}),
        ("부푼", {"damage": "swollen"}),
        ("안 깨진", {"damage": "intact"}),
        ("내용물 남은", {"contents": "remaining"}),
        ("물이 들어있던데", {"contents": "remaining"}),
        ("음료 들어있던 병", {}),
        ("다 쓴", {"contents": "empty"}),
        ("반 남음", {"contents": "remaining"}),
        ("반찬통 오래됨", {}),
        ("우산대 부러짐", {"damage": "broken"}),
        ("눅눅해진", {}),
        ("선물든 상자", {}),
        ("카페트 2미터", {"size": "large"}),
        ("카페트 2미터 이하", {}),
        ("코팅된", {"material": "coated"}),
        ("알루미늄 튜브 아니고 플라스틱 튜브", {"material": "plastic"}),
        ("유리 말고 나무", {"material": "wood"}),
        ("무라벨", {"label": "off"}),
        ("뚜껑 닫은", {"cap": "on"}),
        ("너무 큰", {"size": "large"}),
        ("대형폐기물", {}),
        ("솔로 문질러도 그대로", {"dirt": "stuck"}),
        ("세제로도 안 지워져요", {"dirt": "stuck"}),
        ("물때가 박혀 안 빠져요", {"dirt": "stuck"}),
        ("갈색물이 쫙 들었음", {"dirt": "stuck"}),
        ("씻어도 남음", {"dirt": "stuck"}),
        ("씻어도 되나요", {}),
        ("물이 들어간 휴대폰", {}),
        ("국물 엎었음", {"dirt": "dirty"}),
        ("곰팡이 먹어서 시커먼", {"dirt": "dirty"}),
        ("봉투에 못 넣음", {"size": "large"}),
        ("봉투에 안 넣어도 되나요", {}),
        ("내 키만한 인형", {"size": "large"}),
        ("방석만한 조각", {"size": "small"}),
        ("실밥 삐져나온", {"damage": "broken"}),
        ("찢어진 데 하나 없이", {"damage": "intact"}),
        ("라벨이 물에 불려도 안 떨어지는 페트병", {}),
        ("라벨 자국이 씻어도 안 지워져", {"dirt": "stuck"}),
        ("빨간 국물 밴 마라탕 용기", {"dirt": "stuck"}),
        ("양념 배인 반찬통 씻으면 되나요", {"dirt": "dirty"}),
        ("기름 밴 피자박스", {"dirt": "oily"}),
        ("고춧가루 물든 통", {"dirt": "stuck"}),
        ("물든 생수병", {"contents": "remaining"}),
        ("내용물든 캔", {"contents": "remaining"}),
        ("안 뜯은 햇반", {"contents": "remaining"}),
        ("라벨 안 뜯은 페트병", {}),
        ("봉투에 그대로 들어가는 의자", {}),
        ("큰애가 쓰던 멜로디언", {}),
        ("큰 아이스박스", {"size": "large"}),
        ("침수된 휴대폰", {"damage": "broken"}),
        ("아침수영복", {}),
        ("명함 종이류 맞죠?", {}),
        ("칫솔은 플라스틱인가요 일반쓰레기인가요?", {}),
        ("봉이 철인지 플라스틱인지 모르겠는데", {}),
        ("나무 쓰레기통", {"material": "wood"}),
        ("가죽 지갑 어디에 버리는지 몰라요", {"material": "leather"}),
        ("공구함 잠금쇠", {}),
        ("스텐드 옷걸이", {}),
        ("굳이 안 벗겨도 되는 페트병", {}),
        ("씻어도 그대로 버려도 되나요", {}),
        ("칫솔도 그대로 버리면 되나요", {}),
        ("못이 박혀서 안 빠지는 각목", {}),
        ("검토한 서류", {}),
        ("배양토 한 포대", {}),
        ("노란 물이 들어 있는 생수병", {"contents": "remaining"}),
        ("스프레이 아직도 남아 있는데", {"contents": "remaining"}),
        ("다 비우지 못했어요", {}),
        ("봉투에 담을 수 있을까요?", {}),
        ("방석만 하나", {}),
        ("차 키만 한 개", {}),
        ("신을 만큼 신은", {}),
        ("정이 많이 들었던 인형", {}),
    ],
)
def test_conditions_are_read_from_words(text: str, state: dict[str, str]) -> None:
    assert read(text).known() == state


def test_a_state_drops_what_no_axis_has() -> None:
    assert State.of({"dirt": "filthy", "material": "paper", "colour": "red", "cap": 3}) == State(material="paper")


# --- meaning
# -----------------------------------------------------------------------------------------------------------


def test_an_exact_name_needs_no_embedding(database: Database) -> None:
    embedder = LetterPairs(E5)
    assert Rulebook(database, embedder).search("투명 페트병 버리는 법").decision == "match"
    assert embedder.asked == []
    Rulebook(database, embedder).search("이름 모를 무엇")
    assert embedder.asked == ["이름 모를 무엇"]


def test_another_models_vectors_are_never_compared(database: Database) -> None:
    embedder = LetterPairs("other-model")
    assert Rulebook(database, embedder).search("이름 모를 무엇").decision == "not_found"
    assert embedder.asked == []


def test_names_are_found_while_the_model_is_away(database: Database) -> None:
    nobody = Embedder("http://127.0.0.1:9/v1", "", E5, timeout=1)
    with pytest.raises(EmbeddingFailed):
        nobody.query(["페트병"])
    assert Rulebook(database, nobody).search("쓰다 남은 보조 밧테리요").candidates[0].id == "power-bank"


def test_meaning_finds_what_no_name_says(servers: Addresses, corpus: Corpus, embedding_url: str) -> None:
    """With the real offline model, on a corpus small enough to embed here."""
    wanted = {"milk-carton", "power-bank", "bones", "receipt", "clear-pet-bottle", "frying-pan", "medicine", "umbrella"}
    few = replace(corpus, items=[row for row in corpus.items if row.id in wanted], rules=[])
    database = Database(migrated(servers))
    embedder = Embedder(embedding_url, "test", E5, timeout=120)
    build(database, few, embedder, quiet)
    rulebook = Rulebook(database, embedder)
    assert len(embedder.query(["아무 말"])[0]) == DIMENSIONS
    assert rulebook.search("계산하고 받은 종이 쪽지").candidates[0].id == "receipt"
    assert rulebook.search("외장 배터리 팩").candidates[0].id == "power-bank"
    assert rulebook.search("우주 정거장 가는 길").decision == "not_found"
    for unsaid in ("이거 어디다 버려요", "카페에서 쓰고 남은 거 어디에 버리면 돼요?"):
        found = rulebook.search(unsaid)
        assert found.decision == "ambiguous", unsaid
        assert found.question
        assert found.question.text["ko"].startswith("무엇을 버리시나요?")
    named = rulebook.search("할머니가 쓰시던 우산 버리려고요")
    assert named.candidates[0].id == "umbrella"
    assert not (named.question and named.question.text["ko"].startswith("무엇을"))
    database.close()


# --- rules
# -------------------------------------------------------------------------------------------------------------


def test_every_item_has_five_to_ten_rules_in_the_order_of_a_guide(rulebook: Rulebook, corpus: Corpus) -> None:
    phases = ["prepare", "wash", "separate", "dispose", "dont", "why"]
    for item in corpus.entries.items:
        rules = rulebook.rules(item, on=TODAY)
        assert 5 <= len(rules) <= 10, item
        assert [phases.index(rule.phase) for rule in rules] == sorted(phases.index(rule.phase) for rule in rules), item
        assert any(rule.destination for rule in rules if rule.phase == "dispose") or any(r.disagreement for r in rules)


def test_the_dictionary_is_cited_only_for_what_it_says(rulebook: Rulebook, corpus: Corpus) -> None:
    """What a family tells of an official class is our judgement for a thing that only we put there."""
    ours = [id_ for id_, item in corpus.entries.items.items() if item.basis == "author" and item.decide is None]
    claimed = {rule.id for item in ours for rule in rulebook.rules(item) if rule.basis == "official-class"}
    assert len(ours) > 300
    assert {rule for rule in claimed if ".dispose." in rule} == set()

    def told(item: str, rule: str) -> str:
        return {one.id: one for one in rulebook.rules(item)}[rule].basis

    assert told("dried-laver", "packaged-food.dispose.1") == "author"
    assert told("vitamin", "supplement-family.dispose.1") == "author", "a town says something else of it"
    assert told("kimchi", "salty-food.dispose.1") == "official-class"
    of_its_own = rulebook.rule("packaged-food.dispose.1")
    assert of_its_own is not None
    assert of_its_own.basis == "official-class", "of the class it is true"


def test_a_rule_is_used_from_its_day_on(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("UPDATE rules SET effective_from = '2026-12-01' WHERE id = 'soiled-paper.dont.1'")
        tx.execute("UPDATE rules SET effective_to = '2026-11-30' WHERE id = 'soiled-paper.dispose.1'")
    rulebook = Rulebook(database, None)
    today = {rule.id for rule in rulebook.rules("receipt", on=TODAY)}
    next_month = {rule.id for rule in rulebook.rules("receipt", on=date(2026, 12, 1))}
    assert ("soiled-paper.dont.1" in today, "soiled-paper.dispose.1" in today) == (False, True)
    assert ("soiled-paper.dont.1" in next_month, "soiled-paper.dispose.1" in next_month) == (True, False)


def test_rules_follow_the_state(rulebook: Rulebook) -> None:
    swollen = {rule.id for rule in rulebook.rules("power-bank", State(damage="swollen"))}
    sound = {rule.id for rule in rulebook.rules("power-bank", State(damage="intact"))}
    assert "power-bank.prepare.1" in swollen
    assert "power-bank.prepare.1" not in sound
    oily = {rule.id for rule in rulebook.rules("pizza-box", State(dirt="oily"))}
    assert {"pizza-box.separate.1", "soiled-paper.dispose.1", "pizza-box.dispose.general"} <= oily
    assert "pizza-box.dispose.paper" not in oily


def test_rules_left_open_show_every_outcome(rulebook: Rulebook) -> None:
    open_ = {rule.id for rule in rulebook.rules("pizza-box")}
    assert {"pizza-box.dispose.paper", "pizza-box.dispose.general"} <= open_


def test_too_many_rules_are_cut_to_those_near_the_question(database: Database) -> None:
    with_meaning = Rulebook(database, LetterPairs(E5))
    ids = [rule.id for rule in with_meaning.rules("power-bank", limit=8, question="소금물에 담그는 것도 위험해요")]
    assert len(ids) == 8
    assert "lithium-family.dont.1" in ids
    assert "power-bank.dispose.battery" in ids


def test_items_and_rules_can_be_opened_one_by_one(rulebook: Rulebook) -> None:
    item = rulebook.item("umbrella")
    assert item
    assert (item.name, item.name_en, [part.destination for part in item.parts]) == (
        "우산",
        "Umbrella",
        ["scrap_metal", "general"],
    )
    assert rulebook.item("choice-cup") is None
    rule = rulebook.rule("clear-pet.separate.2")
    assert rule
    assert "뚜껑" in rule.text
    assert rule.source.url
    assert rulebook.rule("clear-pet.separate.99") is None
    assert rulebook.rules("nothing") == []


def test_before_the_first_build_it_says_so(own_database_url: str) -> None:
    database = Database(own_database_url)
    with pytest.raises(Unavailable, match="has not been built yet"):
        Rulebook(database, None).search("페트병")
    with pytest.raises(Unavailable, match="has not been built yet"):
        Rulebook(database, None).index_version()
    database.close()


def test_a_way_out_for_some_things_is_a_caution_and_no_step(rulebook: Rulebook) -> None:
    """What sends the thing elsewhere than it goes, or holds in a state that nobody has told."""

    def phases(item: str, state: State | None = None) -> dict[str, str]:
        return {rule.id: rule.phase for rule in rulebook.rules(item, state, limit=100)}

    unknown = phases("plastic-container")
    assert unknown["plastic-container.dispose.1"] == "dont"  # if the stain stays, it is waste
    assert unknown["plastic-container.dispose.plastic"] == "dispose"
    assert phases("raw-rice")["raw-rice.dispose.1"] == "dispose"  # municipalities differ: both are ways
    (kept,) = (
        rule for rule in rulebook.rules("plastic-container", limit=100) if rule.id == "plastic-container.dispose.1"
    )
    assert kept.set_aside


def test_there_is_always_a_step_that_says_where_it_goes(rulebook: Rulebook, corpus: Corpus) -> None:
    for item in corpus.items[::7]:
        if item.kind == "item":
            assert any(rule.phase == "dispose" for rule in rulebook.rules(item.id)), item.id
