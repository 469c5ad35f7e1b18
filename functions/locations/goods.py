"""What a centre takes: from the free text of its municipality to categories that can be asked for.

Where a category is also a destination of the rules (functions/shared/destinations.py), it has that code. The words
themselves are always shown, too: a word that no pattern knows is in no category, and nothing is guessed for it.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

Accepts = Literal[
    "furniture",
    "appliances",
    "small_appliance",
    "clothing",
    "books",
    "toys",
    "kitchenware",
    "office",
    "household",
    "bulky",
    "paper",
    "carton",
    "clear_pet",
    "plastic",
    "vinyl",
    "styrofoam",
    "glass_bottle",
    "can",
    "scrap_metal",
    "wood",
    "battery",
    "lamp",
    "food",
    "general",
    "recyclables",
]
CATEGORIES: tuple[Accepts, ...] = get_args(Accepts)

#: Category → what a word of it looks like. `^…$` where a shorter word means something else.
_PATTERNS: dict[Accepts, str] = {
    "furniture": "가구|소파|책상|침대(?!보)",
    "appliances": "가전|^전제품|전자제품|냉장고|세탁기|TV|냉난방|에어컨|온풍기|전자레인지|오븐|그릴|공기청정|컴퓨터",
    "small_appliance": "소형[^+]*(?:가전|전자)|전자레인지|오븐|그릴|공기청정",
    "clothing": "의류|헌옷|^옷|신발|가방",
    "books": "도서|^책$|서적",
    "toys": "장난감|완구",
    "kitchenware": "주방|식당",
    "office": "사무",
    "household": "잡화|생활용품|비누",
    "bulky": "대형폐기물|매트리스(?!스프링)|메트리스",
    "paper": "종이(?!팩|컵)|폐지|파지|고지|신문|골판지",
    "carton": "종이팩|우유팩|멸균팩",
    "clear_pet": "(?:투명|무색|누명)(?:페트|PET)",
    "plastic": "PET|페트|^P[EPSV]C?$|플라스틱|프라스틱|플락스틱|(?<!발포)합성수지|염화비닐|요구르트병|고무파통",
    "vinyl": "비닐(?!수지)|필름|비료포대",
    "styrofoam": "스티로[폼품]|스치로폼|EPS|발포합성수지|[잉인]고트|잉코트",
    "glass_bottle": "유리병|(?:공|잡|파|빈|소주|맥주|[백갈청]색)병|^병류?$",
    "can": "캔",
    "scrap_metal": "고철|^철$|알[루류]?미[늄늅](?!캔)|비철|양은|스텐|스덴|신주|금속(?!캔)|스프링",
    "wood": "목재|나무",
    "battery": "전지",
    "lamp": "형광등",
    "food": "음식물",
    "general": "생활쓰레기|생활폐기물",
    "recyclables": "재활용(?:품|가능|자원|전품목)",
}
_KNOWN = {category: re.compile(pattern, re.IGNORECASE) for category, pattern in _PATTERNS.items()}

#: A blank ends a word, but not between an adjective and what it describes ("알루미늄 캔", "투명 페트병").
_JOINED = re.compile(r"(?<=알루미늄) (?=캔)|(?<=투명) (?=페트|PET)|(?<=소형) (?=가전)|(?<=재활용) (?=전품목|자원|가능)")
_BREAK = re.compile(r"[+,，、·/()\s]+")


def categories(words: str) -> tuple[Accepts, ...]:
    """The categories that the words of a municipality name, in the order of CATEGORIES."""
    parts = [part for part in _BREAK.split(_JOINED.sub("", words)) if part]
    return tuple(name for name in CATEGORIES if any(_KNOWN[name].search(part) for part in parts))
