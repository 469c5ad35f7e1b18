// "To learn": what went wrong, what the rule says and why it matters, and three questions to see whether it stuck.

import { call } from "./api.js";
import { fill, focus, h, problemView } from "./dom.js";
import { ruleButton } from "./rule.js";
import { day, t } from "./texts.js";

const ENOUGH = 2; // right grades in a row after which something counts as learned
const FRESH = 60000; // ms: so long after a grade its lesson may still come
const LOOKS = [0, 1500, 3000, 5000, 8000]; // ms: a lesson is made in the seconds after the grade

/** Show the lessons in `root`; lesson `id` first, where one is named. */
export function lessonsView(root, id) {
  const title = h("h1", {}, t("page.lessons"));
  const shown = h("div", { className: "lessons" });
  fill(root, title, h("p", { className: "lead" }, t("page.lessons.lead")), shown);
  fill(shown, h("p", { className: "busy" }, t("page.loading")));
  focus(title);
  call("GET", "/users/me/lessons").then(({ lessons, learned }) => {
    fill(shown, learned > 0 && h("p", { className: "learned" }, t("page.lessons.learned", { n: learned })),
      lessons.length > 0
        ? lessons.map(lessonView)
        : h("section", { className: "card empty" }, h("p", {}, t("page.lessons.none")),
          h("a", { className: "button primary", href: "#/history" }, t("page.nav.history"))));
    if (id) shown.querySelector(`[data-lesson="${id}"] h2`)?.focus();
  }, (error) => fill(shown, problemView(error)));
}

/** A way to the lesson about item `id`, graded at `at`: once there is one, nothing until then. */
export function lessonLink(id, at) {
  const place = h("div", { className: "lesson-link", role: "status" });
  const look = async (left) => {
    const found = await call("GET", "/users/me/lessons").then(({ lessons }) => lessons.find(({ item }) => item.id === id), () => null);
    if (found) fill(place, h("a", { className: "button", href: `#/lessons/${found.id}` }, t("page.lessons.open", { item: found.item.name })));
    else next(left);
  };
  const next = ([first, ...left]) => first !== undefined && setTimeout(() => place.isConnected && look(left), first);
  next(Date.now() - new Date(at) < FRESH ? LOOKS : LOOKS.slice(0, 1));
  return place;
}

/** A sentence of ours and the rule it stands on. */
function told(label, sentence) {
  return sentence && h("div", { className: "told" }, h("h3", {}, t(label)),
    h("p", {}, sentence.text, " ", sentence.rule_id && ruleButton(sentence.rule_id, "§", t("page.rule.open.other"))),
    h("small", {}, [sentence.basis_name, sentence.source?.title].filter(Boolean).join(" · ")));
}

function lessonView(lesson) {
  const { id, item, wrong, right_since: right, missed, opened_at: since, rule, mistake, why, quiz, taken } = lesson;
  const count = h("p", { className: "hint" });
  const counted = ({ times, best }) => fill(count, times > 0 ? t("page.quiz.taken", { times, best, of: quiz.length }) : t("page.quiz.never"));
  counted(taken);
  return h("article", { className: "card lesson", "data-lesson": id },
    h("h2", { tabIndex: -1 }, item.name),
    h("p", { className: "hint" }, t("page.lessons.wrong", { n: wrong, since: day(since) }), " · ", t("page.lessons.right", { n: right, of: ENOUGH })),
    missed.length > 0 && h("p", {}, t("page.lessons.missed"), " ",
      h("strong", {}, missed.map(({ name, missed: n }) => t("page.lessons.missed.step", { name, n })).join(", "))),
    told("page.lessons.rule", rule), told("page.lessons.mistake", mistake), told("page.lessons.why", why),
    quiz.length > 0 && h("details", { className: "quiz" }, h("summary", {}, t("page.quiz")), count,
      quizForm(id, quiz, (best) => { taken.times += 1; taken.best = Math.max(taken.best ?? 0, best); counted(taken); })));
}

/** The three questions; what was chosen is checked by the server, which counts it. `finished(right)` hears how many. */
function quizForm(lessonId, quiz, finished) {
  const problem = h("div");
  const result = h("div", { "aria-live": "polite" });
  const send = h("button", { type: "submit", className: "primary" }, t("page.quiz.send"));
  const questions = quiz.map(({ id, question, options }, n) => {
    const name = `${lessonId}/${id}`;
    const said = h("div");
    const radios = options.map((option) => h("input", { type: "radio", name, value: option.id, required: true }));
    const labels = options.map((option, index) => h("label", { className: "choice", "data-option": option.id }, radios[index], h("span", {}, option.text)));
    return { id, options, radios, labels, said, element: h("fieldset", { "data-question": id }, h("legend", {}, `${n + 1}. ${question}`), h("div", { className: "choices one" }, labels), said) };
  });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); submit(); } }, questions.map(({ element }) => element), problem, send, result);

  async function submit() {
    const answers = questions.map(({ id, radios }) => ({ question: id, option: radios.find(({ checked }) => checked).value }));
    lock(true);
    fill(problem);
    try {
      const checked = await call("POST", `/users/me/lessons/${lessonId}/answers`, { answers });
      checked.answers.forEach(explain);
      send.hidden = true;
      const sum = h("p", { className: "sum", tabIndex: -1 }, t("page.quiz.sum", { right: checked.right, of: checked.of }));
      fill(result, sum, h("button", { type: "button", onclick: again }, t("page.quiz.again")));
      sum.focus();
      finished(checked.right);
    } catch (error) {
      fill(problem, problemView(error));
      lock(false);
    }
  }

  function explain({ question, option, right, correct, why, rule_id: rule }) {
    const { labels, said, options } = questions.find(({ id }) => id === question);
    const textOf = (wanted) => options.find(({ id }) => id === wanted)?.text ?? "";
    labels.forEach((label) => {
      label.classList.toggle("right", label.dataset.option === correct);
      label.classList.toggle("wrong", label.dataset.option === option && !right);
    });
    const verdict = right ? t("page.quiz.right") : t("page.quiz.wrong", { correct: textOf(correct) });
    fill(said, h("p", { className: right ? "said right" : "said wrong" }, h("strong", {}, verdict), " ",
      why !== textOf(correct) && [why, " "], ruleButton(rule, "§", t("page.rule.open.other"))));
  }

  function again() {
    questions.forEach(({ labels, said }) => {
      fill(said);
      labels.forEach((label) => label.classList.remove("right", "wrong"));
    });
    form.reset();
    fill(result);
    send.hidden = false;
    lock(false);
    questions[0].radios[0].focus();
  }

  function lock(on) {
    send.disabled = on;
    questions.forEach(({ radios }) => radios.forEach((radio) => { radio.disabled = on; }));
  }

  return form;
}
