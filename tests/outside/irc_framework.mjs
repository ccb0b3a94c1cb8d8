// A client with `irc-framework` from npm, the library of The Lounge.
//
//     node irc_framework.mjs FOLDER OPTIONS [CAPABILITY ...]
//
// FOLDER is where npm has installed it, and OPTIONS are those of its `connect`. Each line of the
// input is a method with its arguments, and each line of the output an event.

import { createRequire } from "node:module"
import { createInterface } from "node:readline"

const [folder, options, ...capabilities] = process.argv.slice(2)
const { Client } = createRequire(`${folder}/`)("irc-framework")
const client = new Client()
const tell = (name, event) => console.log(JSON.stringify({ event: name, ...event }))

client.requestCap(capabilities)
client.use((_client, _raw, parsed) => {
  parsed.use((name, event, _, next) => {
    if (name === "nick in use") client.changeNick(`${event.nick}_`)
    tell(name, event)
    next()
  })
})
client.on("socket close", () => tell("socket close"))
client.connect(JSON.parse(options))

for await (const line of createInterface({ input: process.stdin })) {
  const [method, ...rest] = JSON.parse(line)
  client[method](...rest)
}
process.exit(0)
