"""The corpus: what it must hold, and that every fault in it is found and told with its place."""

from __future__ import annotations

import csv
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from functions.setup.compiled import Corpus, load
from functions.setup.corpus import CorpusError
from functions.shared.decisions import otherwise, outcomes, paths, resolve, said
from functions.shared.destinations import DESTINATIONS, segments
from functions.shared.hangul import distance, slips, sound, with_particle
from functions.shared.phrases import Reading
from functions.shared.regions import place, within
from knative.local.model.embeddings import Embedder
from knative.local.model.shipped import Shipped
from tests.rag import covered, vectors

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "rag-index" / "corpus"
DICTIONARY = ROOT.parent / "shared" / "data" / "official-items.tsv"
TODAY = date(2026, 11, 25)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load(CORPUS, TODAY)


def test_it_is_large_enough_and_every_item_is_known_by_many_names(corpus: Corpus) -> None:
    figures = corpus.coverage()
    assert figures["items"] >= 800
    assert figures["official_pages"] == 718
    assert figures["aliases_per_item"] >= 5
    assert all(len(item.aliases) >= 3 for item in corpus.entries.items.values())
    beyond = [item for item in corpus.entries.items.values() if not item.official]
    assert len(beyond) >= 60


def test_nothing_claims_more_than_its_basis(corpus: Corpus) -> None:
    for rule in corpus.rules:
        assert (rule.source_url is None) == (rule.basis == "author" and "공식 출처 없음" in rule.source_title), rule.id
        assert rule.checked <= TODAY, rule.id
        assert rule.text.rstrip("’)").endswith((".", "요", "다", "요.")), rule.text


@pytest.mark.parametrize(
    ("item", "facts", "codes"),
    [
        ("pet-cap", {}, ["clear_pet"]),
        ("clear-pet-bottle", {}, ["clear_pet"]),
        ("clear-pet-bottle", {"kind": "coloured"}, ["plastic"]),
        ("coloured-pet-bottle", {}, ["plastic"]),
        ("milk-carton", {}, ["carton"]),
        ("milk-carton", {"kind": "no_bin"}, ["paper"]),
        ("paper-cup", {"material": "coated"}, ["paper"]),
        ("receipt", {}, ["general"]),
        ("pizza-box", {"dirt": "clean"}, ["paper"]),
        ("pizza-box", {"dirt": "oily"}, ["general"]),
        ("pizza-box", {}, ["paper", "general"]),
        ("glass-bottle", {"damage": "broken"}, ["noncombustible"]),
        ("heatproof-glass", {}, ["noncombustible"]),
        ("toothbrush", {}, ["general"]),
        ("cd", {}, ["general"]),
        ("rubber-gloves", {}, ["general"]),
        ("foil", {}, ["general"]),
        ("bones", {}, ["general"]),
        ("shells", {}, ["general"]),
        ("power-bank", {"damage": "swollen"}, ["battery"]),
        ("e-cigarette", {}, ["small_appliance"]),
        ("led-lamp", {"kind": "disc"}, ["general"]),
        ("led-lamp", {"kind": "bulb_tube"}, ["lamp"]),
        ("toy", {"material": "electronic"}, ["small_appliance"]),
        ("foam-net", {}, ["general"]),
        ("fruit-foam-tray", {}, ["styrofoam"]),
        ("bedding", {"size": "large"}, ["bulky"]),
        ("butane-can", {"contents": "remaining"}, ["can"]),
        ("scissors", {}, ["general", "scrap_metal"]),
        ("fluorescent-lamp", {"damage": "broken"}, ["general", "noncombustible"]),
        ("watermelon-rind", {}, ["food", "general"]),
        ("garlic-peel", {}, ["general", "food"]),
        ("bentonite-litter", {}, ["noncombustible", "general"]),
    ],
)
def test_what_people_get_wrong_most(corpus: Corpus, item: str, facts: dict[str, str], codes: list[str]) -> None:
    row = next(row for row in corpus.items if row.id == item)
    assert resolve(row.doc["decide"], facts, TODAY).destinations == codes


def test_where_sources_disagree_the_rule_says_so(corpus: Corpus) -> None:
    split = [rule for rule in corpus.rules if rule.leaf == "depends"]
    assert {rule.owner for rule in split} >= {"scissors", "toy", "fluorescent-lamp", "watermelon-rind", "garlic-peel"}
    for rule in split:
        assert rule.disagreement
        assert "구청·시청" in rule.text


@pytest.mark.skipif(not DICTIONARY.exists(), reason=f"NOT CHECKED against the official dictionary: no {DICTIONARY}")
def test_classes_are_those_of_the_official_dictionary(corpus: Corpus) -> None:
    with DICTIONARY.open(encoding="utf-8", newline="") as lines:
        official = {int(row["niIdx"]): row["official_class"] for row in csv.DictReader(lines, delimiter="\t")}
    for item in corpus.entries.items.values():
        for class_, pages in item.official.items():
            for page in pages:
                assert segments(official[page]) == segments(class_), f"{item.id}: page {page}"


@pytest.mark.skipif(not DICTIONARY.exists(), reason=f"NOT CHECKED against the official dictionary: no {DICTIONARY}")
def test_every_row_of_the_official_dictionary_is_covered_by_an_item_of_that_name(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert covered.show(corpus, DICTIONARY) == 0
    printed = capsys.readouterr().out
    assert "official rows covered        718 of 718" in printed
    assert re.search(r"730 영수증 → receipt", printed)


def test_a_row_that_nothing_covers_is_a_gap(corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "official.tsv"
    table.write_text(
        "niIdx\tname\tofficial_class\n730\t영수증\t일반폐기물 > 일반종량제폐기물\n9999\t새 품목\t재활용폐기물 > 종이\n"
        "334\t칫솔\t재활용폐기물 > 종이\n336\t다른 이름\t일반폐기물 > 일반종량제폐기물\n",
        encoding="utf-8",
    )
    assert covered.show(corpus, table) == 1
    assert capsys.readouterr().err.splitlines() == [
        "not covered: 9999 새 품목",
        "not covered: 334 칫솔",
        "not covered: 336 다른 이름",
    ]


def test_the_vectors_that_come_with_the_project_are_those_of_the_corpus(corpus: Corpus) -> None:
    texts = vectors.texts(corpus)
    lacking = vectors.missing(corpus)
    assert len(lacking) <= len(texts) * 0.03, f"make vectors: {len(lacking)} of {len(texts)} are missing"
    embedder = Embedder()
    for text in texts[:: len(texts) // 5]:
        made = embedder.made(text)
        shipped = Shipped().get(text)
        assert shipped is not None
        assert float(np.dot(made, shipped)) > 0.995, text


# --- faults
# ------------------------------------------------------------------------------------------------------------

_ITEM = """
items:
  - id: thing
    name: {ko: 시험 물건, en: Test thing}
    aliases: [시험용 물건]
    family: plastic-container-family
    basis: author
"""


@pytest.fixture(scope="module")
def small(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the corpus that is sound by itself: these tests read it often."""
    trees = {row.id: row.doc["decide"] for row in corpus.items if row.kind == "item"}
    kept = {"toy"}
    for code in DESTINATIONS:  # whatever goes there, so that every destination is reached
        kept.add(next(item for item, tree in trees.items() if any(code in leaf["to"] for _, leaf in paths(tree))))
    while more := {p.item for i in kept for p in corpus.entries.items[i].parts if p.item} - kept:
        kept |= more
    folder = tmp_path_factory.mktemp("small")
    for path in CORPUS.glob("*.yaml"):
        document = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
        document = {section: rows for section, rows in document.items() if section in ("sources", "families", "items")}
        document["items"] = [row for row in document.get("items", ()) if row["id"] in kept]
        (folder / path.name).write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    load(folder, TODAY)
    return folder


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "corpus"))


def _faults(folder: Path, text: str) -> str:
    (folder / "extra.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError) as raised:
        load(folder, TODAY)
    return str(raised.value)


def test_a_sound_item_is_taken(folder: Path) -> None:
    (folder / "extra.yaml").write_text(_ITEM, encoding="utf-8")
    assert any(row.id == "thing" for row in load(folder, TODAY).items)


def test_what_does_not_come_clean_follows_its_family_unless_the_item_speaks_of_dirt_itself(folder: Path) -> None:
    def outcomes(text: str) -> list[list[str]]:
        (folder / "extra.yaml").write_text(text, encoding="utf-8")
        tree = next(row for row in load(folder, TODAY).items if row.id == "thing").doc["decide"]
        return [resolve(tree, {"dirt": dirt}, TODAY).destinations for dirt in ("clean", "oily", "stuck")]

    assert outcomes(_ITEM) == [["plastic"], ["plastic"], ["general"]]
    assert outcomes(_ITEM.replace("plastic-container-family", "paper-sheets")) == [["paper"], ["general"], ["general"]]
    own = _ITEM + _TABLE % ("dirt", "[clean, stuck]", "rest")
    assert outcomes(own) == [["plastic"], ["general"], ["plastic"]]
    nested = _ITEM + _TABLE % ("size", "large", "small")
    assert outcomes(nested.replace("to: general", "to: paper"))[2] == ["general"]
    fixed = _ITEM.replace("family: plastic-container-family", "to: bulky")
    assert outcomes(fixed) == [["bulky"]] * 3


def test_dirt_counts_beside_a_way_to_the_waste_bag_and_claims_no_more_than_the_weaker(folder: Path) -> None:
    table = _ITEM + _TABLE % ("material", "plastic", "[silicone, mixed]")
    (folder / "extra.yaml").write_text(table.replace("to: general", "to: general, basis: author"), encoding="utf-8")
    found = load(folder, TODAY)
    tree = next(row for row in found.items if row.id == "thing").doc["decide"]
    stuck = {"material": "plastic", "dirt": "stuck"}
    assert resolve(tree, {"material": "plastic"}, TODAY).destinations == ["plastic"]
    assert resolve(tree, stuck, TODAY).destinations == ["general"]
    assert next(rule.basis for rule in found.rules if rule.id == "thing.dispose.general") == "author"


_SELDOM = """
    unless:
      - {is: lit, ko: 불이 들어와요, en: It lights up, words: [불들어], to: small_appliance}
      - {by: contents, is: remaining, ko: 남아 있어요, en: Some is left, to: general}
"""


def test_what_is_seldom_so_holds_where_it_is_said_and_nobody_is_asked(folder: Path) -> None:
    def thing(text: str) -> tuple[Any, Corpus]:
        (folder / "extra.yaml").write_text(text, encoding="utf-8")
        found = load(folder, TODAY)
        return next(row for row in found.items if row.id == "thing").doc["decide"], found

    tree, found = thing(_ITEM + _SELDOM)
    lit = {"kind": "lit"}
    assert said(tree, "불들어오는시험물건") == lit
    for facts, code in (({}, "plastic"), (lit, "small_appliance"), ({"contents": "remaining"}, "general")):
        assert resolve(tree, facts, TODAY).destinations == [code]
        assert resolve(tree, {"kind": "unheard-of", **facts}, TODAY).destinations == [code], (
            "no other value is asked for"
        )
    assert resolve(tree, {"dirt": "stuck"}, TODAY).destinations == ["general"]
    assert [leaf["to"] for leaf in outcomes(tree, TODAY)] == [["plastic"]], "it is no usual place"
    told = {by: (option["values"], to) for by, option, to in otherwise(tree, {}, TODAY)}
    bag = ["general"]
    assert told == {"kind": (["lit"], ["small_appliance"]), "contents": (["remaining"], bag), "dirt": (["stuck"], bag)}
    assert [by for by, _, _ in otherwise(tree, lit, TODAY)] == ["contents"], "a lamp goes there however dirty it is"
    rules = {rule.leaf: rule for rule in found.rules if rule.owner == "thing" and rule.leaf}
    assert rules["small_appliance"].basis == "author"
    assert rules["small_appliance"].text.startswith("‘불이 들어와요’라고 답했다면, 시험 물건은 ")
    assert rules["plastic"].text.startswith("‘씻으면 깨끗해져요’라고 답했다면, ")

    own = (_TABLE % ("kind", "tall", "wide")).replace("to: general", "to: paper, basis: author")
    tree, _ = thing(_ITEM + own + _SELDOM)
    kinds = {kind: resolve(tree, {"kind": kind}, TODAY).destinations for kind in ("tall", "wide", "lit")}
    assert kinds == {"tall": ["plastic"], "wide": ["paper"], "lit": ["small_appliance"]}
    assert resolve(tree, {}, TODAY).asking is not None, "what its own table asks is asked"


def test_what_would_send_a_thing_elsewhere_does_where_it_is_so(corpus: Corpus) -> None:
    told = 0
    for row in corpus.items:
        if row.kind not in ("item", "part"):
            continue
        tree = row.doc["decide"]
        usual = set(resolve(tree, {}, TODAY).destinations)
        for by, option, destinations in otherwise(tree, {}, TODAY):
            told += 1
            assert set(destinations) != usual, (row.id, by)
            for value in option["values"]:
                assert resolve(tree, {by: value}, TODAY).destinations == destinations, (row.id, by, value)
    assert told > 2000


def test_a_part_with_words_is_a_small_item_of_its_own(folder: Path) -> None:
    lid = "    %s: [{id: lid, name: {ko: 덮개, en: Lid}, words: [뚜껑, 캡], %s}]\n"

    def parts(text: str) -> dict[str, set[str]]:
        (folder / "extra.yaml").write_text(text, encoding="utf-8")
        found = load(folder, TODAY)
        assert all(row.kind == "part" and not row.names for row in found.items if row.id.startswith("thing--"))
        keys, known = found.names()
        called: dict[str, set[str]] = {}
        for whole in ("시험 물건", "시험용 물건"):
            for word in ("뚜껑", "캡", "덮개"):
                for part, name in Reading(f"{whole} {word}", keys, known).parts.values():
                    called.setdefault(part, set()).add(name)
        return called

    others = {f"{whole} {word}" for whole in ("시험 물건", "시험용 물건") for word in ("캡", "덮개")}
    names = {"시험 물건 뚜껑", "시험용 물건 뚜껑", *others}
    for section in ("parts", "alone"):
        assert parts(_ITEM + lid % (section, "to: general")) == {"thing--lid": names}
    of_alone = [rule.id for rule in load(folder, TODAY).rules if rule.id == "thing.separate.lid"]
    assert of_alone == [], "it stays on the whole"
    cap = _ITEM.replace("items:\n", "").replace("id: thing", "id: cap").replace("시험 물건", "물건 뚜껑")
    cap = cap.replace("시험용 물건", "물건마개").replace("Test thing", "Cap")
    found = parts(_ITEM + lid % ("alone", "to: general") + cap)
    assert found == {"thing--lid": others}, "that one is a cap"
    assert parts(_ITEM + lid % ("alone", "item: cap") + cap) == {"cap": others}
    assert not any(row.kind == "part" for row in load(folder, TODAY).items if row.id.startswith("thing"))


def test_what_goods_come_in_or_are_taken_apart_to_is_found_behind_any_name(folder: Path) -> None:
    behind = "    behind: {words: [겉상자], alone: [쇠]}\n"
    with_one = "    alone: [{id: box, name: {ko: 겉상자, en: Box}, words: [겉상자], to: general}]\n"
    other = _ITEM.replace("items:\n", "").replace("thing", "other").replace("Test", "Other").replace("시험", "다른")

    def found(question: str) -> list[str]:
        return [part for part, _ in Reading(question, *names).parts.values()]

    (folder / "extra.yaml").write_text(_ITEM + behind + other + with_one, encoding="utf-8")
    names = load(folder, TODAY).names()
    for question in (
        "장난감 겉상자",
        "장난감 사고 남은 겉상자",
        "장난감 담겨온 겉상자",
        "장난감 쇠만",
        "장난감 바퀴 떼고 쇠만",
    ):
        assert found(question) == ["thing"], question
    for question in ("장난감 쇠", "쇠 장난감", "장난감이랑 겉상자", "겉상자 장난감"):
        assert found(question) == [], question
    assert found("다른 물건 겉상자") == ["other--box"], "it has one of its own"


_TABLE = """
    decide:
      by: %s
      ask: {ko: "어떤가요?", en: "What is it like?"}
      options:
        - {is: %s, ko: 하나, en: one, to: plastic}
        - {is: %s, ko: 둘, en: two, to: general}
"""


@pytest.mark.parametrize(
    ("added", "told"),
    [
        (_TABLE % ("dirt", "clean", "oily"), "not total on 2026-11-25: dirt dirty, stuck missing"),
        (_TABLE % ("dirt", "[clean, oily]", "[dirty, oily]"), "ambiguous on 2026-11-25: dirt oily twice"),
        (_TABLE % ("dirt", "clean", "filthy"), "dirt has no value filthy"),
        (_TABLE % ("material", "plastic", "unobtainium"), "material has no value unobtainium"),
        (_TABLE % ("colour", "red", "blue"), "decide.by: Value error, unknown: 'colour'"),
        ("    parts: [{id: lid, name: {ko: 뚜껑, en: Lid}, item: nothing}]\n", "item nothing does not exist"),
        ("    parts: [{id: lid, name: {ko: 뚜껑, en: Lid}, item: toy}]\n", "item toy has no usual destination"),
        ("    alone: [{id: lid, name: {ko: 뚜껑, en: Lid}, to: general}]\n", "asked about alone, it needs words"),
        ("    alone: [{id: lid, name: {ko: 뚜껑, en: Lid}, words: [뚜껑], item: no}]\n", "item no does not exist"),
        ("    parts: [{id: lid, name: {ko: 뚜껑, en: Lid}}]\n", "a part goes either `to` a destination or the way"),
        ("    to: [plastic, general]\n", "several destinations and a disagreement belong together"),
        ("    to: general\n    disagreement: 달라요.\n", "several destinations and a disagreement belong together"),
        ("    to: nowhere\n", "unknown: 'nowhere'"),
        ("    without: [plastic-container-family.wash.9]\n", "none of its families has such a rule"),
        ("    rules: {wash: 씻어요.}\n", "rule ids must look like separate.1: wash"),
        ("    rules: {wash.1: {text: 씻어요., source: nobody}}\n", "wash.1: unknown source nobody"),
        ("    rules: {wash.1: {text: 씻어요., basis: directive}}\n", "wash.1: basis directive needs a source"),
        ("    official: {하늘 > 땅: [1]}\n", "official class has unknown segments: 하늘, 땅"),
        ("    colour: red\n", "colour: Extra inputs are not permitted"),
        ((_TABLE % ("kind", "lit", "dull")) + _SELDOM, "unless kind lit: its own table asks for that"),
        ((_TABLE % ("contents", "empty", "rest")) + _SELDOM, "unless contents remaining: its own table asks for that"),
        (_SELDOM.replace("by: contents, is: remaining", "is: lit"), "unless: at most 3 different values of kind"),
        (_SELDOM.replace("is: lit", "by: contents, is: empty"), "and never all there are"),
        (
            _SELDOM + "".join(f"      - {{is: k{n}, ko: 종류, en: Kind, to: paper}}\n" for n in range(3)),
            "unless: at most 3 different values of kind",
        ),
    ],
)
def test_a_fault_is_told_with_file_and_item(folder: Path, added: str, told: str) -> None:
    message = _faults(folder, _ITEM + added)
    assert "extra.yaml: items thing: " in message
    assert told in message


def test_an_outcome_must_rest_on_something(folder: Path) -> None:
    message = _faults(folder, _ITEM.replace("    basis: author\n", ""))
    assert "outcome plastic: no official class of its says so" in message


def test_all_faults_are_told_at_once(folder: Path) -> None:
    text = _ITEM + "    family: elsewhere\n"
    assert "written twice: family" in _faults(folder, text)
    both = _ITEM.replace("plastic-container-family", "elsewhere") + _ITEM.removeprefix("\nitems:").replace(
        "id: thing", "id: other"
    )
    message = _faults(folder, both)
    assert "items thing: unknown family elsewhere" in message
    assert "the name 'Test thing' sounds like" not in message  # a thing that could not be made has no names yet
    names = _faults(folder, _ITEM + _ITEM.removeprefix("\nitems:").replace("id: thing", "id: other"))
    assert "items other: the name '시험용 물건' sounds like '시험용 물건' of thing" in names


def test_every_destination_must_be_reachable(folder: Path) -> None:
    path = folder / "plastic.yaml"
    document = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    document["items"] = [row for row in document["items"] if row["id"] != "ice-pack"]
    path.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    with pytest.raises(CorpusError, match="destination ice_pack: nothing goes there"):
        load(folder, TODAY)


def test_a_table_may_change_on_a_day(folder: Path) -> None:
    (folder / "extra.yaml").write_text(
        _ITEM
        + """
    decide:
      by: dirt
      ask: {ko: "깨끗한가요?", en: "Is it clean?"}
      assume: clean
      options:
        - {is: clean, ko: 네, en: "Yes", to: general, effective_to: 2026-12-31}
        - {is: clean, ko: 네, en: "Yes", to: plastic, effective_from: 2027-01-01}
        - {is: rest, ko: 아니요, en: "No", to: general}
""",
        encoding="utf-8",
    )
    tree = next(row for row in load(folder, TODAY).items if row.id == "thing").doc["decide"]
    assert resolve(tree, {}, date(2026, 12, 31)).destinations == ["general"]
    assert resolve(tree, {}, date(2027, 1, 1)).destinations == ["plastic"]


def test_yes_no_on_and_off_are_words(folder: Path) -> None:
    (folder / "extra.yaml").write_text(_ITEM + _TABLE % ("cap", "on", "off"), encoding="utf-8")
    tree = next(row for row in load(folder, TODAY).items if row.id == "thing").doc["decide"]
    assert [option["values"] for option in tree["options"]] == [["on"], ["off"]]


# --- words
# -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("페트 병", "패트병"),
        ("보조배터리", "보조밧데리"),
        ("계란 껍데기", "달걀껍질"),
        ("Ｐｅｔ", "PET"),
        ("숟가락", "숫가락"),
    ],
)
def test_names_that_sound_alike_have_one_key(one: str, other: str) -> None:
    assert sound(one) == sound(other)


def test_particles_follow_the_sound() -> None:
    assert [with_particle(w, "은", "는") for w in ("캔", "종이", "거울(작은)")] == ["캔은", "종이는", "거울(작은)은"]
    assert [with_particle(w, "으로", "로") for w in ("비닐", "종량제봉투", "고철함")] == [
        "비닐로",
        "종량제봉투로",
        "고철함으로",
    ]


def test_distance_counts_letters() -> None:
    assert distance("ㅍㅔㅌㅡㅂㅕㅇ", "ㅍㅔㅌㅡㅂㅗㅇ") == 1
    assert distance("", "abc") == 3
    assert distance("kitten", "sitting") == 3


def test_a_slip_of_the_thumb_counts_less_than_another_letter() -> None:
    assert slips(sound("화뱡"), sound("화병")) == pytest.approx(0.6)  # a vowel for a vowel
    assert slips(sound("선픙기"), sound("선풍기")) == pytest.approx(0.6)
    assert slips(sound("알양"), sound("알약")) == 1
    assert slips(sound("바지"), sound("사지")) == 1
    assert slips("", "abc") == 3
    assert slips("kitten", "sitting") == distance("kitten", "sitting")


def test_regions_are_read_as_people_write_them() -> None:
    assert place("서울특별시 중랑구") == place("서울시 중랑구") == ("서울", "중랑구")
    assert place("경상남도 창원시") == ("경남", "창원시")
    assert within("서울 중랑구 상봉동", "서울특별시 중랑구")
    assert not within("서울", "서울특별시 중랑구")
    assert not within(None, "서울특별시")


def test_every_destination_tells_where_it_is() -> None:
    for destination in DESTINATIONS.values():
        assert destination.where("apartment").endswith(".")
        assert destination.where("house").endswith(".")
        assert destination.where(None)
