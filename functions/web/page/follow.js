// News of one analysis: over a WebSocket while that works, by asking again and again while it does not.

import { call, token } from "./api.js";

const FINAL = new Set(["completed", "failed", "expired"]);
export const LATER = /^(proof|question)\./; // what happens after the guide: only a look tells how it stands
const OPEN = new Set(["requested", "ingested", "asked"]); // of a proof, of a question
const POLL_INSTEAD = 4429;
const POLL_MS = 1000;
const RECONNECT_MS = 300;
const SETTLE_MS = 50; // news that arrive together are looked at together
const PATIENCE_MS = 30000; // how long polling is preferred after the socket failed

/** True where nothing more will happen by itself: the analysis has ended, no result is being graded, no question is open. */
export function settled({ status, proofs = [], questions = [] }) {
  return FINAL.has(status) && !proofs.some((proof) => OPEN.has(proof.status)) && !questions.some((question) => OPEN.has(question.status));
}

/**
 * Follow analysis `id` from its event number `after` on. `onStage` hears each stage once, in order; `onState` gets the whole
 * analysis whenever there is something new to show (a question, a grade, the end, or each time while polling). Answers a
 * function that stops all of it.
 */
export function follow(id, { onStage, onState, onTrouble }, after = 0) {
  let seen = after;
  let stopped = false;
  let socket = null;
  let timer = null; // the next poll or connection: there is a socket or a timer, never both
  let due = null; // the look the socket's news called for
  let wanted = false;
  let failures = 0;

  const pause = () => POLL_MS * Math.min(1 + failures, 5);

  const stage = (entry) => {
    if (entry.n <= seen) return;
    seen = entry.n;
    onStage(entry);
  };

  /** True once there is nothing more to look for; a failure is counted, and said when it lasts. */
  async function look() {
    try {
      const analysis = await call("GET", `/waste/analyses/${id}`);
      if (stopped) return true;
      failures = 0;
      analysis.stages.forEach(stage);
      onState(analysis);
      return settled(analysis);
    } catch (error) {
      if (stopped) return true;
      if (error.status === 404) {
        onTrouble(error, true);
        return true;
      }
      failures += 1;
      if (failures > 2) onTrouble(error, false);
      return false;
    }
  }

  /** One look for all the news of a moment, one at a time, again until it succeeds. */
  function lookSoon(ms) {
    wanted = true;
    due ??= setTimeout(async () => {
      wanted = false;
      const ended = await look();
      due = null;
      if (!ended && (failures || wanted)) lookSoon(failures ? pause() : SETTLE_MS);
    }, ms);
  }

  async function poll(until) {
    if (await look()) return;
    if (!failures && Date.now() > until) connect();
    else timer = setTimeout(() => poll(until), pause());
  }

  async function connect() {
    const address = new URL(`/api/v1/waste/analyses/${id}/events`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    let mine;
    try {
      mine = await token();
      if (stopped) return;
      socket = new WebSocket(address);
    } catch {
      if (!stopped) poll(Date.now() + PATIENCE_MS);
      return;
    }
    let spoke = false;
    socket.onopen = () => socket.send(JSON.stringify({ token: mine, after: seen }));
    socket.onmessage = ({ data }) => {
      if (stopped) return;
      spoke = true;
      const news = JSON.parse(data);
      const known = news.n <= seen; // by a look that was quicker
      if (news.n) stage(news);
      if (news.final) lookSoon(0);
      else if (!known && (news.status === "needs_answer" || LATER.test(news.stage))) lookSoon(SETTLE_MS);
    };
    socket.onclose = ({ code }) => {
      socket = null;
      if (stopped) return;
      if (code === 1000) return; // the end was announced before
      if (code === POLL_INSTEAD || !spoke) poll(Date.now() + PATIENCE_MS);
      else timer = setTimeout(connect, RECONNECT_MS);
    };
  }

  connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    clearTimeout(due);
    socket?.close();
  };
}
