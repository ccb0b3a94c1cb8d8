// Shows the page while the server cannot be reached, and notifications on phones. The server adds a line
// above this one, with FILES and VERSION, which changes with every file.
//
// The server is always asked first, so the page never runs code older than the server's. The cache
// holds one whole version.

const CACHE = `trio_chat ${registration.scope} ${VERSION}`;
const PAGE = new Set(FILES.map((file) => new URL(file, registration.scope).href));

self.addEventListener("install", (event) => event.waitUntil(fill()));
self.addEventListener("activate", (event) => event.waitUntil(begin()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const [address] = url.split(/[?#]/u);
  // All other requests, such as one for /metrics, go directly to the server.
  if (method === "GET" && PAGE.has(address)) {
    event.respondWith(answer(event.request, address));
  }
});
self.addEventListener("notificationclick", (event) => event.waitUntil(show(event.notification)));

async function fill() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
  await self.skipWaiting();
}

async function begin() {
  const ours = (await caches.keys()).filter((name) => name.startsWith(`trio_chat ${registration.scope} `));
  await Promise.all(ours.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
  await clients.claim();
}

async function answer(request, address) {
  const kept = () => caches.match(address, { cacheName: CACHE });
  try {
    const response = await fetch(request);
    // A proxy answers like this while its server is stopped.
    return response.status < 500 ? response : ((await kept()) ?? response);
  } catch (error) {
    const response = await kept();
    if (response === undefined) {
      throw error;
    }
    return response;
  }
}

// Show the page of a notification, and in it what the notification is about.
async function show(notification) {
  notification.close();
  const [page] = await clients.matchAll({ type: "window" });
  if (page === undefined) {
    await clients.openWindow("./");
    return;
  }
  await page.focus();
  page.postMessage({ tag: notification.tag });
}
