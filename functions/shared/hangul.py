"""How Korean names are compared: what they sound like, not how they were typed.

`sound()` is the key of every name in the index and of everything a citizen types, so that spaces, punctuation, ㅐ for
ㅔ or a plain for a tense consonant make no difference, and a typo costs one letter (jamo) instead of a whole syllable.
Standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

#: The letters of a syllable, in the order in which Unicode counts them.
FIRST = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWEL = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
LAST = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_BASE, _END = 0xAC00, 0xD7A3

# Sounds that people mix up when they type. Endings merge further, because a final ㅅ, ㅈ, ㅊ or ㅌ is said as ㄷ.
_FOLD_FIRST = str.maketrans("ㄲㄸㅃㅆㅉ", "ㄱㄷㅂㅅㅈ")
_FOLD_VOWEL = str.maketrans("ㅐㅒㅖㅙㅚ", "ㅔㅔㅔㅞㅞ")
_FOLD_LAST = str.maketrans("ㄲㄳㄵㄶㄺㄻㄼㄽㄾㄿㅀㅄㅅㅆㅈㅊㅋㅌㅍ", "ㄱㄱㄴㄴㄱㅁㄹㄹㄹㅂㄹㅂㄷㄷㄷㄷㄱㄷㅂ")


#: Words that people use for the same thing, so that no name has to be listed with each of them.
_SAME = {
    "껍데기": "껍질",
    "껍떼기": "껍질",
    "껍대기": "껍질",
    "달걀": "계란",
    "핸드폰": "휴대폰",
    "상자": "박스",
    "봉투": "봉지",
    "봉다리": "봉지",
    "용기": "통",
    "케찹": "케첩",
    "쥬스": "주스",
    "음료수": "음료",
    "후라이": "프라이",
    "밧데리": "배터리",
    "밧테리": "배터리",
    "빳데리": "배터리",
    "밧떼리": "배터리",
    "빠떼리": "배터리",
    "바테리": "배터리",
    "베터리": "배터리",
    "필타": "필터",
    "휠터": "필터",
    "스폰지": "스펀지",
    "찝게": "집게",
    "뚜겅": "뚜껑",
    "뚝껑": "뚜껑",
    "따꿍": "뚜껑",
    "케이불": "케이블",
    "호일": "포일",
    "스치로폼": "스티로폼",
    "스티로폴": "스티로폼",
    "스치로폴": "스티로폼",
    "스티로품": "스티로폼",
    "스트로폼": "스티로폼",
    "껍디": "껍질",
    "껍닥": "껍질",
    "껍딱": "껍질",
    "비니루": "비닐",
    "비닐루": "비닐",
    "빤스": "팬티",
    "빤쓰": "팬티",
    "난닝구": "런닝",
    "쐬주": "소주",
    "쏘주": "소주",
    "바께스": "양동이",
    "빠께스": "양동이",
    "빠께쓰": "양동이",
    "바케스": "양동이",
    "스뎅": "스텐",
    "뺀찌": "펜치",
    "테잎": "테이프",
    "테입": "테이프",
    "테이푸": "테이프",
    "커텐": "커튼",
    "세멘": "시멘트",
    "옥시기": "옥수수",
    "강냉이": "옥수수",
    "깡냉이": "옥수수",
    "정구지": "부추",
    "꼬냑": "코냑",
    "폰충": "폰 충전기",
}
_SAME_WORD = re.compile("|".join(_SAME))


def canonical(text: str) -> str:
    """`text` in lower case with one form of every character and one word for each thing: "달걀 상자" → "계란 박스"."""
    lower = unicodedata.normalize("NFKC", text).casefold()
    return _SAME_WORD.sub(lambda match: _SAME[match.group()], lower)


def normal(text: str) -> str:
    """The letters and digits of `text` in its canonical form, nothing else."""
    return "".join(c for c in canonical(text) if c.isalnum())


@lru_cache(maxsize=4096)
def _sound_of(character: str) -> str:
    code = ord(character)
    if not _BASE <= code <= _END:
        return character
    first, rest = divmod(code - _BASE, 588)
    vowel, last = divmod(rest, 28)
    ending = "" if last == 0 else LAST[last].translate(_FOLD_LAST)
    return FIRST[first].translate(_FOLD_FIRST) + VOWEL[vowel].translate(_FOLD_VOWEL) + ending


def runs(text: str, sizes: Iterable[int]) -> Iterator[str]:
    """Every run of so many characters in a row."""
    return (text[i : i + size] for size in sizes for i in range(len(text) - size + 1))


def sound(text: str) -> str:
    """Key of a name: its normal form as letters of sound. `sound("패트 병") == sound("페트병")`."""
    return "".join(map(_sound_of, normal(text)))


def with_particle(word: str, after_consonant: str, after_vowel: str) -> str:
    """`word` with the particle that fits its last sound: with_particle("캔", "은", "는") == "캔은".

    로/으로 follow their own rule (ㄹ counts as a vowel). A word that ends in no Hangul gets the vowel form; what
    stands in brackets at its end is not said.
    """
    last = re.sub(r"\s*\([^()]*\)$", "", word)[-1:]
    if not last or not _BASE <= ord(last) <= _END:
        return word + after_vowel
    ending = (ord(last) - _BASE) % 28
    closed = ending != 0 and not (after_vowel == "로" and LAST[ending] == "ㄹ")
    return word + (after_consonant if closed else after_vowel)


def distance(a: str, b: str) -> int:
    """Levenshtein distance in letters (Myers' bit-parallel algorithm, 1999: one big integer a column)."""
    if not a or not b:
        return len(a) + len(b)
    occurs: dict[str, int] = {}
    for i, letter in enumerate(a):
        occurs[letter] = occurs.get(letter, 0) | 1 << i
    mask, top = (1 << len(a)) - 1, 1 << (len(a) - 1)
    plus, minus, score = mask, 0, len(a)
    for letter in b:
        match = occurs.get(letter, 0)
        across = (((match & plus) + plus) ^ plus) | match | minus
        up, down = minus | ~(across | plus), plus & across
        score += bool(up & top) - bool(down & top)
        up = (up << 1) | 1
        plus, minus = ((down << 1) | ~((match | minus) | up)) & mask, up & (match | minus) & mask
    return score


#: Consonants that lie side by side on a phone, or are a stroke apart.
_BESIDE = "ㅂㅈ ㅈㄷ ㄷㄱ ㄱㅅ ㅁㄴ ㄴㅇ ㅇㄹ ㄹㅎ ㅋㅌ ㅌㅊ ㅊㅍ ㄱㅋ ㄷㅌ ㅂㅍ ㅈㅊ ㅅㅈ ㄴㄹ ㄴㅁ".split()  # noqa: SIM905
_ALIKE = frozenset([*_BESIDE, *(pair[::-1] for pair in _BESIDE), *(x + y for x in VOWEL for y in VOWEL)])
#: What such a slip counts, of a letter.
SLIP = 0.6


def slips(a: str, b: str) -> float:
    """As `distance`, but a vowel for a vowel, or a consonant for its neighbour, counts less than a whole letter."""
    row = [float(j) for j in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], float(i)
        for j, y in enumerate(b, 1):
            corner, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, corner + (0 if x == y else SLIP if x + y in _ALIKE else 1)),
            )
    return row[-1]
