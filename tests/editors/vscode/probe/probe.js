// Lets a test ask the real extension host: each line from the socket is `{id, code}`, code being the body of an async
// function of `vscode`; what it returns goes back as `{id, value}`, what it throws as `{id, error}`.
const net = require('net');
const readline = require('readline');
const vscode = require('vscode');

const AsyncFunction = (async () => {}).constructor;

exports.activate = (context) => {
  const socket = net.connect(process.env.CODELLAMA_PROBE);
  const state = {}; // kept between the calls of one window
  context.subscriptions.push({ dispose: () => socket.destroy() });
  readline.createInterface({ input: socket }).on('line', async (line) => {
    const { id, code } = JSON.parse(line);
    let answer;
    try {
      answer = { id, value: await new AsyncFunction('vscode', 'state', code)(vscode, state) };
    } catch (error) {
      answer = { id, error: String(error && error.stack) };
    }
    socket.write(`${JSON.stringify(answer)}\n`);
  });
};
