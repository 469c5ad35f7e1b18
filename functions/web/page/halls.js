// Where to begin who does not tell their position: the 17 city halls and provincial offices (public places, degrees).

/** [key of the name, latitude, longitude], in the usual order. */
export const HALLS = [
  ["page.places.hall.seoul", 37.566, 126.978],
  ["page.places.hall.busan", 35.18, 129.075],
  ["page.places.hall.daegu", 35.871, 128.602],
  ["page.places.hall.incheon", 37.456, 126.705],
  ["page.places.hall.gwangju", 35.16, 126.851],
  ["page.places.hall.daejeon", 36.35, 127.385],
  ["page.places.hall.ulsan", 35.54, 129.311],
  ["page.places.hall.sejong", 36.48, 127.289],
  ["page.places.hall.gyeonggi", 37.289, 127.053],
  ["page.places.hall.gangwon", 37.885, 127.73],
  ["page.places.hall.chungbuk", 36.636, 127.491],
  ["page.places.hall.chungnam", 36.659, 126.673],
  ["page.places.hall.jeonbuk", 35.82, 127.109],
  ["page.places.hall.jeonnam", 34.816, 126.463],
  ["page.places.hall.gyeongbuk", 36.576, 128.506],
  ["page.places.hall.gyeongnam", 35.238, 128.692],
  ["page.places.hall.jeju", 33.489, 126.498],
];
