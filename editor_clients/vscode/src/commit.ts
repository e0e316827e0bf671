/** A commit message for what is staged, written into the box of VS Code's own Git view. */
import * as vscode from 'vscode';
import type { Session } from './session';

interface GitApi {
  readonly repositories: readonly Repository[];
}
interface Repository {
  readonly rootUri: vscode.Uri;
  readonly inputBox: { value: string };
}

export async function writeCommitMessage(session: Session, source?: vscode.SourceControl): Promise<void> {
  const repository = await find(source?.rootUri);
  const options = { location: vscode.ProgressLocation.SourceControl, title: 'Code Llama writes a commit message' };
  await vscode.window.withProgress(options, async (_, token) => {
    let text = '';
    const tell = (part: unknown): void => {
      text += (part as { text: string }).text;
      repository.inputBox.value = text;
    };
    const { message } = await session.stream<{ message: string }>('codellama/commitMessage', {}, tell, token);
    repository.inputBox.value = message;
  });
}

/** The repository asked for, else the first. Raises an error where there is none. */
async function find(root: vscode.Uri | undefined): Promise<Repository> {
  const git = vscode.extensions.getExtension<{ getAPI(version: 1): GitApi }>('vscode.git');
  const api = git && (await git.activate()).getAPI(1);
  const found = api?.repositories.find((one) => one.rootUri.toString() === root?.toString()) ?? api?.repositories[0];
  if (!found) throw new Error('There is no Git repository open.');
  return found;
}
