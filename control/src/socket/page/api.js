// Asking the daemon: the public API and nothing else. The session is kept in this tab's storage and shown in a header; no
// cookie, so that no other page's request carries it.
const KEY = "ringfence-session";

export class Refused extends Error {
  constructor(status, error) {
    super((error && error.message) || `the daemon answered ${status}`);
    this.status = status;
    this.code = error && error.code;
    this.details = error && error.details;
  }
}
export class Away extends Error {}

export async function ask(path, { method = "GET", body, shown } = {}) {
  const secret = shown || sessionStorage.getItem(KEY);
  const headers = secret ? { authorization: `Bearer ${secret}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", credentials: "omit", redirect: "error",
    });
  } catch {
    throw new Away("the daemon does not answer");
  }
  const text = await answer.json().catch(() => null);
  if (answer.ok) return text;
  if (answer.status === 401 && !shown) sessionStorage.removeItem(KEY);
  throw new Refused(answer.status, text && text.error);
}

export function query(path, parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return set.length ? `${path}?${new URLSearchParams(set)}` : path;
}

/** Exchanges a code for a session. */
export async function signIn(code) {
  const { secret } = await ask("/v1/session", { method: "POST", shown: code });
  sessionStorage.setItem(KEY, secret);
}

export async function signOut() {
  await ask("/v1/session", { method: "DELETE" }).catch(() => null);
  sessionStorage.removeItem(KEY);
}

/** The code behind `#`, taken out of the address so that it stays in no history. */
export function codeInAddress() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) history.replaceState(null, "", location.pathname);
  return code;
}
