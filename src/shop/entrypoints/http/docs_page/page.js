// Its own file, so that the page needs no inline script and its Content-Security-Policy can be strict.

// Tokens stay in this page: they are gone when it is closed or loaded anew.
let tokens = null;
let goodUntil = 0;

const form = document.getElementById("sign-in");
const signOut = document.getElementById("sign-out");
const signedIn = document.getElementById("signed-in");

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  if (response.status === 204) return null;
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

function keep(pair) {
  tokens = pair;
  const claims = JSON.parse(atob(pair.access.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  // By the clocks of the shop: that of this computer may be wrong. A little early, to be in time.
  goodUntil = Date.now() + (claims.exp - claims.iat) * 1000 - 10_000;
}

function forget(message) {
  tokens = null;
  signOut.hidden = true;
  signedIn.textContent = message;
}

async function signInAgainIfNeeded() {
  if (Date.now() < goodUntil) return;
  try {
    keep(await post("/api/token/refresh/", { refresh: tokens.refresh }));
  } catch (error) {
    forget(error.message);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { username, password } = Object.fromEntries(new FormData(form));
  try {
    keep(await post("/api/token/", { username, password }));
    form.elements.password.value = "";
    signOut.hidden = false;
    signedIn.textContent = `Signed in as ${username}: what is tried out below is done.`;
  } catch (error) {
    forget(error.message);
  }
});

signOut.addEventListener("click", async () => {
  const { refresh } = tokens;
  forget("Signed out.");
  await post("/api/token/revoke/", { refresh });
});

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  validatorUrl: null,
  // A token that was given under "Authorize" goes first.
  requestInterceptor: async (request) => {
    if (tokens && !request.headers.Authorization && new URL(request.url).origin === location.origin) {
      await signInAgainIfNeeded();
      if (tokens) request.headers.Authorization = `Bearer ${tokens.access}`;
    }
    return request;
  },
});
