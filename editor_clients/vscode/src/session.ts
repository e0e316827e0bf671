/** The language server of this window: start, stop, restart, requests. Independent of features. */
import * as vscode from 'vscode';
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  ProgressType,
  RevealOutputChannelOn,
  State,
  type LanguageClientOptions,
  type Middleware,
} from 'vscode-languageclient/node';
import { find, NEUTRAL_FOLDER, type Found } from './server/finding';
import { forServer } from './settings';
import { NOTHING, type Status } from './status';

/** Capabilities beyond a plain client; the server reads them under `experimental`. */
const SAYS = { codellamaStatus: true, codellamaReports: true, codellamaChat: true, codellamaEdit: true };

/** URI schemes of the documents that are sent to the server, which decides what it reads. */
const SCHEMES = ['file', 'untitled', 'vscode-notebook-cell'];

/** Restart after a crash, up to this many crashes in this many milliseconds. */
const MOST_RESTARTS = 4;
const CRASHES_WITHIN = 180_000;
const RESTART_AFTER = 500;

/** Write errors to the log; the session decides what the user sees. */
class Client extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

export class Session implements vscode.Disposable {
  status: Status = NOTHING;
  /** Number of active requests. */
  busy = 0;
  /** The program in use, after one was found. */
  found: Found | undefined;
  /** Called for each inline completion and each command; set by the features before the start. */
  middleware: Middleware = {};
  readonly log = vscode.window.createOutputChannel('Code Llama', { log: true });
  private readonly changed = new vscode.EventEmitter<void>();
  /** Fires when the status or the number of active requests changes. */
  readonly onDidChange = this.changed.event;
  private client: LanguageClient | undefined;
  private turn: Promise<void> = Promise.resolve();
  /** Times at which the server crashed. */
  private crashes: number[] = [];
  /** Whether the current server has answered `initialize`. */
  started = false;

  constructor(private readonly ownFolder: string) {}

  /** Start or restart. Calls are queued. */
  restart(): Promise<void> {
    this.turn = this.turn.then(async () => {
      await this.end();
      await this.begin();
    });
    return this.turn;
  }

  /** Stop until `restart`. */
  stop(): Promise<void> {
    this.turn = this.turn.then(() => this.end());
    return this.turn;
  }

  /** Send a request. Throws an error for the user if the server is not running. */
  async request<T>(method: string, params: object, token?: vscode.CancellationToken): Promise<T> {
    const client = this.running();
    // An undefined token would count as a second parameter.
    return this.counted(() => (token ? client.sendRequest<T>(method, params, token) : client.sendRequest<T>(method, params)));
  }

  /** Send a request and call `tell` with each partial result. */
  async stream<T>(
    method: string,
    params: object,
    tell: (part: unknown) => void,
    token?: vscode.CancellationToken,
  ): Promise<T> {
    const partialResultToken = `codellama-${crypto.randomUUID()}`;
    const heard = this.running().onProgress(new ProgressType<unknown>(), partialResultToken, tell);
    try {
      return await this.request<T>(method, { ...params, partialResultToken }, token);
    } finally {
      heard.dispose();
    }
  }

  /** Send a notification if the server is running. */
  notify(method: string, params: object): void {
    if (this.client?.state === State.Running) void this.client.sendNotification(method, params);
  }

  /** Run `work` and count it as an active request. */
  async counted<T>(work: () => Thenable<T> | Promise<T>): Promise<T> {
    this.busy += 1;
    this.changed.fire();
    try {
      return await work();
    } finally {
      this.busy -= 1;
      this.changed.fire();
    }
  }

  /** Send the current settings. */
  configure(): void {
    this.notify('workspace/didChangeConfiguration', { settings: { codellama: serverSettings() } });
  }

  /** Convert a range to LSP. */
  range(range: vscode.Range): object {
    return this.running().code2ProtocolConverter.asRange(range);
  }

  /** Convert diagnostics to LSP. */
  diagnostics(found: readonly vscode.Diagnostic[]): object[] {
    return found.map((one) => this.running().code2ProtocolConverter.asDiagnostic(one));
  }

  dispose(): void {
    void this.stop();
    this.changed.dispose();
    this.log.dispose();
  }

  private running(): LanguageClient {
    if (this.client?.state !== State.Running) throw new Error('The Code Llama language server is not running.');
    return this.client;
  }

  private async begin(): Promise<void> {
    const settings = vscode.workspace.getConfiguration('codellama.server');
    try {
      const places = { setting: settings.get<string>('path', ''), path: process.env['PATH'] ?? '', own: this.ownFolder };
      this.found = find(places);
    } catch (error) {
      this.show({ ...NOTHING, phase: 'failed', message: (error as Error).message });
      return;
    }
    if (!this.found) {
      this.show({ ...NOTHING, phase: 'missing', message: 'the language server is not installed' });
      return;
    }
    await this.launch(this.found.command);
  }

  private async launch(command: string): Promise<void> {
    this.log.info(`starting ${command} --stdio`);
    this.show(NOTHING);
    const run = { command, args: ['--stdio'], options: { cwd: NEUTRAL_FOLDER } };
    const client = new Client('codellama', 'Code Llama', run, this.options());
    client.registerFeature({
      fillClientCapabilities: (capabilities) => {
        capabilities.experimental = { ...(capabilities.experimental as object | undefined), ...SAYS };
      },
      initialize: () => undefined,
      getState: () => ({ kind: 'static' }),
      clear: () => undefined,
    });
    client.onNotification('codellama/status', (status: Status) => {
      this.show({ ...NOTHING, ...status });
    });
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Stopped && this.client === client) this.show({ ...NOTHING, phase: 'ended' });
    });
    this.client = client;
    this.started = false;
    try {
      await client.start();
      this.started = true;
      this.changed.fire();
    } catch (error) {
      this.log.error(String(error));
      void this.tellNotStarted();
    }
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: SCHEMES.map((scheme) => ({ scheme })),
      initializationOptions: serverSettings,
      outputChannel: this.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      middleware: this.middleware,
      initializationFailedHandler: () => false, // reported once, as the failure of the start
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue }),
        closed: () => {
          this.revive();
          return { action: CloseAction.DoNotRestart, handled: true };
        },
      },
    };
  }

  private async tellNotStarted(): Promise<void> {
    const text = 'the language server did not start; its log says why';
    this.show({ ...NOTHING, phase: 'failed', message: text });
    const chosen = await vscode.window.showErrorMessage(`Code Llama: ${text}.`, 'Show Log', 'Start Again');
    if (chosen === 'Show Log') this.log.show();
    if (chosen === 'Start Again') await this.restart();
  }

  /** Restart after a crash, unless the server crashes repeatedly or never started. */
  private revive(): void {
    if (!this.started) return;
    const now = Date.now();
    this.crashes = [...this.crashes.filter((at) => now - at < CRASHES_WITHIN), now];
    if (this.crashes.length <= MOST_RESTARTS) setTimeout(() => void this.restart(), RESTART_AFTER);
  }

  private async end(): Promise<void> {
    const { client } = this;
    this.client = undefined;
    this.started = false;
    if (client?.needsStop()) {
      await client.stop().catch((error: unknown) => {
        this.log.warn(`the server did not stop in order: ${String(error)}`);
      });
    }
  }

  private show(status: Status): void {
    this.status = status;
    this.changed.fire();
  }
}

function serverSettings(): Record<string, unknown> {
  const settings = vscode.workspace.getConfiguration('codellama');
  return forServer((section) => settings.get(section));
}
