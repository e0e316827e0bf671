/** Write a commit message for staged changes into the input box of VS Code's Git view. */
import * as vscode from 'vscode';
import type { Session } from './session';

interface GitApi {
  readonly repositories: readonly Repository[];
}
interface Repository {
  readonly rootUri: vscode.Uri;
  readonly inputBox: { value: string };
  readonly ui: { readonly selected: boolean };
}

export async function writeCommitMessage(session: Session, source?: vscode.SourceControl): Promise<void> {
  const repository = await find(source?.rootUri);
  const title = 'Code Llama writes a commit message';
  const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
  await vscode.window.withProgress(options, (_, token) => written(session, repository, token));
}

/** Stream the message into the input box. The previous text is restored if there is no result. */
async function written(session: Session, { rootUri, inputBox }: Repository, token: vscode.CancellationToken): Promise<void> {
  const before = inputBox.value;
  let text = '';
  const tell = (part: unknown): void => {
    text += (part as { text: string }).text;
    if (!token.isCancellationRequested) inputBox.value = text;
  };
  try {
    const params = { repository: rootUri.toString() };
    const { message } = await session.stream<{ message: string }>('codellama/commitMessage', params, tell, token);
    inputBox.value = message;
  } catch (error) {
    inputBox.value = before;
    if (!token.isCancellationRequested) throw error;
  }
}

/** The given repository, else the one selected in the Git view. Throws if there is none. */
async function find(root: vscode.Uri | undefined): Promise<Repository> {
  const git = vscode.extensions.getExtension<{ getAPI(version: 1): GitApi }>('vscode.git');
  const api = git && (await git.activate()).getAPI(1);
  const all = api?.repositories ?? [];
  const found = all.find((one) => one.rootUri.toString() === root?.toString()) ?? all.find((one) => one.ui.selected) ?? all[0];
  if (!found) throw new Error('No Git repository is open.');
  return found;
}
