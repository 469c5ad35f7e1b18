// Becoming an account, logging in and out, leaving for good; and the profile that comes with an account.

import { adopt, call, forget, known, refreshToken, request } from "./api.js";
import { showConsent } from "./consent.js";
import { forgetHome, keepHome, readHome } from "./home.js";
import { lang, switchLanguage } from "./texts.js";
import { forgetAccount, rememberAccount, showAccount } from "./who.js";

/** Make the guest of this browser an account, or a new account where nobody was here yet. */
export async function signUp(email, password) {
  const wish = { email, password };
  adopt(await (known() ? call : request)("POST", "/auth/signup", wish));
  await settle(() => writeProfile({ ...readHome(), language: lang }));
}

/** Log in. What the profile does not know of the home, this browser tells it; its language becomes that of the page. */
export async function logIn(email, password) {
  adopt(await request("POST", "/auth/login", { email, password }));
  await settle(async () => {
    const told = readHome();
    const profile = await readProfile();
    const news = Object.entries(told).filter(([name]) => !profile[name]);
    if (news.length) await writeProfile(Object.fromEntries(news));
    if (profile.language !== lang) switchLanguage(profile.language);
  });
}

/** Bring profile and browser together with `work`; that it failed is no reason not to be logged in. */
async function settle(work) {
  await work().catch(() => showAccount());
  await showConsent();
}

/** The profile {kind, email, nickname, region, housing, language, consent}; what this browser remembers follows it. */
export async function readProfile() {
  return follow(await call("GET", "/users/me"));
}

/** Change some of the profile; the whole of it. */
export async function writeProfile(change) {
  return follow(await call("PATCH", "/users/me", change));
}

function follow(profile) {
  if (profile.kind === "guest") return profile;
  rememberAccount(profile);
  keepHome({ housing: profile.housing ?? "", region: profile.region ?? "" });
  return profile;
}

/** Log out: the tokens are killed there and forgotten here. Of a session that is over (401) there is nothing to kill; any
 * other problem is the person's to know: they are not logged out. */
export async function logOut() {
  await call("POST", "/auth/logout", { refresh_token: refreshToken() }).catch((problem) => {
    if (problem.status !== 401) throw problem;
  });
  forgetEverything();
}

/** Change the password; every other device is logged out, and this one goes on with a new session. */
export async function changePassword(old, fresh) {
  adopt(await call("POST", "/auth/password", { old, new: fresh }));
}

/** Delete the user and all that was kept of them. An account says its `password`. */
export async function leaveForGood(password) {
  await call("DELETE", "/auth/account", password ? { password } : {});
  forgetEverything();
}

/** Nobody is here any more, and nothing of theirs. */
export function forgetEverything() {
  forget();
  forgetAccount();
  forgetHome();
  showConsent();
}
