"""The stand-in for the public API of recycling centres: its envelope, its quirks, and centres that do not exist.

Every name says "(예시)", every address lies in a district that no town has, every phone number ends in zeros, and every
answer calls itself sample data. Positions are those of town halls, so that there is one to find wherever somebody is.
`GET /openapi/tn_pubr_public_ruse_cnter_api?serviceKey&pageNo&numOfRows&type=json`; GET /healthz.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from aiohttp import web

PATH = "/openapi/tn_pubr_public_ruse_cnter_api"

#: Rows of a page at most, however many are asked for: with fewer than there are, so that paging is used.
MOST_ROWS = 20

_TOWNS = (
    ("서울특별시", 37.5663, 126.9779),
    ("서울특별시", 37.4979, 127.0276),
    ("서울특별시", 37.5572, 126.9245),
    ("인천광역시", 37.4563, 126.7052),
    ("경기도", 37.2636, 127.0286),
    ("경기도", 37.6584, 126.8320),
    ("경기도", 37.4201, 127.1265),
    ("강원특별자치도", 37.8813, 127.7300),
    ("강원특별자치도", 37.7519, 128.8761),
    ("충청북도", 36.6424, 127.4890),
    ("충청남도", 36.8151, 127.1139),
    ("대전광역시", 36.3504, 127.3845),
    ("세종특별자치시", 36.4801, 127.2890),
    ("전북특별자치도", 35.8242, 127.1480),
    ("광주광역시", 35.1595, 126.8526),
    ("전라남도", 34.8118, 126.3922),
    ("경상북도", 36.0190, 129.3435),
    ("대구광역시", 35.8714, 128.6014),
    ("울산광역시", 35.5384, 129.3114),
    ("부산광역시", 35.1796, 129.0756),
    ("경상남도", 35.2280, 128.6811),
    ("제주특별자치도", 33.4996, 126.5312),
)
_TAKES = ("가전+가구", "종이류+캔류+병류+플라스틱류+스티로폼류", "의류+도서+장난감 등", "소형가전, 폐건전지, 폐형광등")
_CLOSED = ("일+공휴일", "토+일+공휴일", "연중무휴", "", "격주 토+일")


def rows() -> list[dict[str, str]]:
    """All centres, each value a text, as the API has them: two for each town hall, which lies between them."""
    found = []
    for number in range(2 * len(_TOWNS)):
        province, latitude, longitude = _TOWNS[number % len(_TOWNS)]
        east = 0.011 if number < len(_TOWNS) else -0.009
        with_rest = number % 3 == 0
        found.append(
            {
                "cnterNm": f"(예시) {province} 제{number + 1}재활용센터",
                "rdnmadr": f"{province} 예시구 예시로 {number + 1}" if number % 7 else "",
                "lnmadr": f"{province} 예시구 예시동 {number + 1}",
                "latitude": f"{latitude + 0.004:.7f}",
                "longitude": f"{longitude + east:.7f}",
                "cnterOperSe": "직영" if number % 2 else "위탁",
                "operInstitutionNm": "예시재활용",
                "trtmntPrdlst": _TAKES[number % len(_TAKES)],
                "weekdayOperOpenHhmm": "09:00",
                "weekdayOperColseHhmm": "18:00",
                "holidayOperOpenHhmm": "10:00" if with_rest else "00:00",
                "holidayCloseOpenHhmm": "15:00" if with_rest else "00:00",
                "rstdeInfo": _CLOSED[number % len(_CLOSED)],
                "operPhoneNumber": f"02-000-{number + 1:02}00" if number % 5 else "",
                "phoneNumber": "02-000-0000",
                "institutionNm": f"{province} 예시구청",
                "referenceDate": "2026-01-01",
                "instt_code": "0000000",
                "instt_nm": f"{province} 예시구",
            }
        )
    return found


def answer(query: Mapping[str, str]) -> dict[str, Any]:
    """The JSON of one page. Numbers are texts; a page of one row has an object for `items`, and one beyond the last
    says "no data"."""
    number, wanted = _number(query.get("pageNo"), 1), min(_number(query.get("numOfRows"), 10), MOST_ROWS)
    everything = rows()
    page = everything[(number - 1) * wanted : number * wanted]
    if not page:
        return {"response": {"header": _header("03", "NODATA_ERROR")}}
    body = {
        "items": page[0] if len(page) == 1 else page,
        "totalCount": str(len(everything)),
        "numOfRows": str(wanted),
        "pageNo": str(number),
    }
    return {"response": {"header": _header("00", "NORMAL_SERVICE"), "body": body}}


def _header(code: str, said: str) -> dict[str, Any]:
    return {"resultCode": code, "resultMsg": said, "type": "json", "sample": True}


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() and int(text) > 0 else default


async def _centres(request: web.Request) -> web.StreamResponse:
    if not request.query.get("serviceKey"):
        return web.Response(text=_refused("SERVICE_KEY_IS_NOT_REGISTERED_ERROR", "30"), content_type="text/xml")
    return web.json_response(answer(request.query))


def _refused(said: str, code: str) -> str:
    return (
        "<OpenAPI_ServiceResponse><cmmMsgHeader><errMsg>SERVICE ERROR</errMsg>"
        f"<returnAuthMsg>{said}</returnAuthMsg><returnReasonCode>{code}</returnReasonCode>"
        "</cmmMsgHeader></OpenAPI_ServiceResponse>"
    )


async def _health(request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


def main() -> int:
    """Serve until SIGTERM or Ctrl-C. 1 where the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m knative.local.centres", description="Centres that do not exist.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    given = parser.parse_args()
    app = web.Application()
    app.router.add_get(PATH, _centres)
    app.router.add_get("/healthz", _health)
    try:
        web.run_app(app, host=given.host, port=given.port, access_log=None, print=None, shutdown_timeout=0.5)
    except OSError as error:
        print(f"centres: cannot listen on {given.host}:{given.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
