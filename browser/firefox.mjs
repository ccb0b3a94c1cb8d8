// Someone in Firefox: comes in, talks, and loads the page anew. Ends with 1 if anything is not as it
// should be. `node firefox.mjs FIREFOX URL`; puppeteer-core is in the folder NODE_FOLDER.

import { createRequire } from "node:module";
import process from "node:process";

const puppeteer = createRequire(`${process.env.NODE_FOLDER}/`)("puppeteer-core");
const [, , executablePath, url] = process.argv;
const SIZES = [{ width: 390, height: 760 }, { width: 1100, height: 640 }];

const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
const page = await browser.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(`${error}`));
page.on("console", (message) => problems.push(`${message.type()}: ${message.text()}`));

async function see(text, times = 1) {
  const isThere = (wanted, count) => {
    const said = [...document.querySelectorAll("#log-rows .text")].filter((node) => node.textContent === wanted);
    return said.length === count && document.querySelectorAll("#pending li").length === 0;
  };
  await page.waitForFunction(isThere, {}, text, times);
}

async function type(text) {
  await page.type("#line", text);
  await page.keyboard.press("Enter");
}

async function isOnline() {
  await page.waitForFunction(() => document.querySelector("#my-light").className === "light online");
  await page.waitForSelector("#app", { visible: true });
}

try {
  await page.setViewport(SIZES[0]);
  await page.goto(url);
  await page.waitForSelector("#entrance-nick", { visible: true });
  await page.type("#entrance-nick", "fox");
  await page.click("#entrance-form .primary");
  await isOnline();
  await type("Hello from Firefox");
  await see("Hello from Firefox");
  await see("Hi fox");
  await page.type("#line", "/top");
  await page.keyboard.press("Tab");
  await page.type("#line", "Tea");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#topic").textContent === "Tea");
  await type("**bold**");
  await page.waitForFunction(() => document.querySelector("#log-rows strong")?.textContent === "bold");
  await type("/search hello");
  await page.waitForFunction(() => document.querySelector("#search-results mark")?.textContent === "Hello");
  await page.keyboard.press("Escape");
  await page.keyboard.down("Control");
  await page.keyboard.press("k");
  await page.keyboard.up("Control");
  await page.waitForSelector("#finder", { visible: true });
  await page.keyboard.press("Escape");
  await page.click("#show-rooms");
  // The drawer slides in.
  await page.waitForFunction(() => document.querySelector("#rooms-drawer").getBoundingClientRect().left === 0);
  await page.click("#settings-button");
  await page.select("#settings-theme", "dark");
  await page.waitForFunction(() => getComputedStyle(document.body).colorScheme === "dark");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  for (const size of SIZES) {
    await page.setViewport(size);
    const isWider = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    if (isWider) {
      problems.push(`the page is wider than ${size.width} pixels`);
    }
  }
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await page.type("#line", "half a thou");
  await page.reload();
  await isOnline();
  await page.waitForFunction(() => document.querySelector("#line").value === "half a thou");
  await type("ght");
  await see("half a thought");
  await see("Hello from Firefox");
} catch (error) {
  problems.push(`${error}`);
} finally {
  await browser.close();
}
problems.forEach((problem) => console.error(problem));
process.exitCode = problems.length > 0 ? 1 : 0;
