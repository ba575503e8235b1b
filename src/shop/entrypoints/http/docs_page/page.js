// Its own file, so that the page needs no inline script and its Content-Security-Policy can be strict.

// Tokens stay in this page: they are gone when it is closed or loaded anew.
let tokens = null;
let goodUntil = 0;
let refreshing = null;

const form = document.getElementById("sign-in");
const signOut = document.getElementById("sign-out");
const signedIn = document.getElementById("signed-in");

// What the shop refuses, with its words; whatever else went wrong is an error of another kind.
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.detail ?? `The answer is ${response.status}.`);
  return answer;
}

function keep(pair) {
  tokens = pair;
  const claims = JSON.parse(atob(pair.access.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  // By the clocks of the shop: that of this computer may be wrong. A little early, to be in time.
  goodUntil = Date.now() + (claims.exp - claims.iat) * 1000 - 10_000;
  signOut.hidden = false;
}

function forget() {
  tokens = null;
  signOut.hidden = true;
}

function say(message, { wrong = false } = {}) {
  signedIn.textContent = message;
  signedIn.classList.toggle("wrong", wrong);
}

// Why it did not work, for somebody who does not know what a fetch is.
const inWords = (error) => (error instanceof Refused ? error.message : "The shop cannot be reached.");

async function refresh() {
  const before = tokens;
  try {
    const pair = await post("/api/token/refresh/", { refresh: before.refresh });
    if (tokens === before) keep(pair);
  } catch (error) {
    if (tokens !== before) return;
    // Who is refused is signed out. Who was not heard, or came too often, may ask again.
    if (error.status === 401) {
      forget();
      say("Your session has ended. Sign in again to go on.", { wrong: true });
    } else {
      say(`Your session could not be extended. ${inWords(error)} Try again.`, { wrong: true });
    }
  }
}

async function refreshIfNeeded() {
  if (Date.now() < goodUntil) return;
  // One for all requests that wait for it.
  refreshing ??= refresh().finally(() => (refreshing = null));
  await refreshing;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { username, password } = Object.fromEntries(new FormData(form));
  say("Signing in …");
  try {
    keep(await post("/api/token/", { username, password }));
    form.elements.password.value = "";
    say(`Signed in as ${username}: what is tried out below is done.`);
  } catch (error) {
    forget();
    say(`Not signed in. ${inWords(error)}`, { wrong: true });
    form.elements.password.select();
  }
});

signOut.addEventListener("click", async () => {
  const { refresh } = tokens;
  forget();
  form.elements.username.focus();
  try {
    await post("/api/token/revoke/", { refresh });
    say("Signed out.");
  } catch (error) {
    say(`This page forgot you, but the shop was not told. ${inWords(error)}`, { wrong: true });
  }
});

// Swagger UI leaves some controls without a name, and names are all that a screen reader has of them.
const NAMES = {
  ".close-modal": "Close",
  ".copy-to-clipboard button": "Copy",
  "#servers": "Server",
  textarea: "Request body",
  select: "Media type",
};

function nameControls() {
  document.querySelector("#docs .info .title")?.setAttribute("aria-level", "1");
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const control of document.querySelectorAll(`#docs ${selector}:not([aria-label])`)) {
      const parameter = control.closest("[data-param-name]")?.dataset.paramName;
      control.setAttribute("aria-label", parameter ?? name);
    }
  }
}

const docs = document.getElementById("docs");
new MutationObserver(nameControls).observe(docs, { childList: true, subtree: true });

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  validatorUrl: null,
  // Of its themes one whose words can all be read.
  syntaxHighlight: { theme: "obsidian" },
  // A token that was given under "Authorize" goes first.
  requestInterceptor: async (request) => {
    if (tokens && !request.headers.Authorization && new URL(request.url).origin === location.origin) {
      await refreshIfNeeded();
      if (tokens) request.headers.Authorization = `Bearer ${tokens.access}`;
    }
    return request;
  },
  // The shop may end a session before its time. Then the page says so.
  responseInterceptor: async (response) => {
    if (response.status === 401 && tokens && response.url.startsWith(`${location.origin}/api/`)) {
      goodUntil = 0;
      await refreshIfNeeded();
    }
    return response;
  },
});
