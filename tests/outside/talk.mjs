// A program that knows nothing of the server but its pages, with the client `ws` from npm.
//
//     node talk.mjs FOLDER PORT
//
// FOLDER is where npm has installed `ws`. Each line printed is a step that went well.

import assert from "node:assert/strict"
import { createRequire } from "node:module"

const [folder, port] = process.argv.slice(2)
const WebSocket = createRequire(`${folder}/`)("ws")
const url = `ws://localhost:${port}/ws`

function open(options) {
  const socket = new WebSocket(url, options) // it offers compression, and gets none
  const waiting = []
  const come = []
  socket.on("message", (data, binary) => {
    assert.equal(binary, false)
    const event = JSON.parse(data)
    if (waiting.length > 0) waiting.shift()(event)
    else come.push(event)
  })
  socket.receive = () =>
    come.length > 0 ? Promise.resolve(come.shift()) : new Promise((resolve) => waiting.push(resolve))
  socket.ask = async (type, fields) => {
    socket.send(JSON.stringify({ type, id: type, ...fields }))
    for (;;) {
      const event = await socket.receive()
      if (event.id === type) return event
    }
  }
  socket.closes = new Promise((resolve) => socket.on("close", (code) => resolve(code)))
  return socket
}

function refused(path, options) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://localhost:${port}${path}`, options)
    socket.on("unexpected-response", (_, response) => {
      resolve(response.statusCode)
      response.resume()
    })
    socket.on("open", () => reject(new Error(`${path} was opened`)))
    socket.on("error", reject)
  })
}

const done = (step) => console.log(step)

const socket = open()
assert.equal((await socket.receive()).type, "hello")
assert.equal(socket.extensions, "")
assert.equal((await socket.ask("take_nick", { nick: "outside" })).nick, "outside")
assert.equal((await socket.ask("join", { room: "#a" })).members.length, 2)
done("came in")

assert.equal((await socket.ask("say", { room: "#a", text: "Hi \u{1F600}" })).position, 1)
const long = "x".repeat(2000)
assert.equal((await socket.ask("say", { room: "#a", text: long })).text, long)
done("spoke")

const document = JSON.stringify({ type: "say", room: "#a", text: "in pieces" })
socket.send(document.slice(0, 9), { fin: false })
socket.ping("?")
const pong = new Promise((resolve) => socket.once("pong", resolve))
socket.send(document.slice(9), { fin: true })
assert.equal((await socket.receive()).text, "in pieces")
assert.equal(String(await pong), "?")
assert.equal((await socket.ask("show_history", { room: "#a" })).entries.length, 3)
done("spoke in pieces")

assert.equal((await socket.ask("tell", { nick: "jack", text: "psst" })).type, "told")
assert.equal((await socket.ask("quit", {})).type, "goodbye")
assert.equal(await socket.closes, 1000)
done("quit")

const binary = open({ perMessageDeflate: false })
await binary.receive()
binary.send(Buffer.from("binary"))
assert.equal(await binary.closes, 1003)
const large = open()
await large.receive()
large.send("x".repeat(1_000_000))
assert.equal(await large.closes, 1009)
const closing = open()
await closing.receive()
closing.close(4001, "enough")
assert.equal(await closing.closes, 4001)
done("closed")

assert.equal(await refused("/other", {}), 404)
assert.equal(await refused("/ws", { origin: "https://evil.example" }), 403)
assert.equal(await refused("/ws", { protocolVersion: 8 }), 426)
done("was refused")
process.exit(0)
