// Have the payloads that a peer got checked by the libraries of those who made
// the formats.  node validate.js NODE_MODULES cloudevents|adaptivecards FILE
// FILE has a request of http_peer.py in each line.  Prints what is wrong, and at
// the end how many were checked.
const fs = require('fs');
const [modules, format, file] = process.argv.slice(2);
const requests = fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map(JSON.parse);
const wrong = [];

function cloudevents({ headers, body }) {
  const { HTTP } = require(`${modules}/cloudevents`);
  // Throws where the specification is not kept to.
  const event = HTTP.toEvent({ headers, body });
  event.validate();
  if (typeof event.data !== 'object') wrong.push('the data is no object');
}

function adaptivecards({ body }) {
  // The library is made for a browser, of which parsing needs the names only.
  globalThis.self = globalThis.window = globalThis;
  globalThis.document = { createElement: () => ({}) };
  const cards = require(`${modules}/adaptivecards/dist/adaptivecards.js`);
  const message = JSON.parse(body);
  if (message.type !== 'message' || message.attachments.length !== 1 ||
      message.attachments[0].contentType !== 'application/vnd.microsoft.card.adaptive')
    wrong.push('it is not a message with one card');
  const context = new cards.SerializationContext(cards.Versions.v1_4);
  const card = new cards.AdaptiveCard();
  card.parse(message.attachments[0].content, context);
  for (let i = 0; i < context.eventCount; i++) wrong.push(context.getEventAt(i).message);
  for (const { validationEvents } of [card.validateProperties()])
    for (const e of validationEvents) wrong.push(e.message);
}

for (const request of requests) {
  try {
    ({ cloudevents, adaptivecards })[format](request);
  } catch (e) {
    wrong.push(e.message);
  }
}
for (const text of wrong) console.log(text);
console.log(`${requests.length} checked`);
