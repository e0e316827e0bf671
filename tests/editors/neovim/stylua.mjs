// node stylua.mjs FOLDER-OF-NODE-MODULES PLUGIN [--write]: stylua's own formatter, as its npm package brings it along.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [tools, plugin, write] = process.argv.slice(2);
const { Config, formatCode, IndentType, OutputVerification, QuoteStyle } = createRequire(join(tools, "x.js"))(
  "@johnnymorganz/stylua",
);

// plugin/stylua.toml, which only the command reads
function config() {
  const found = Config.new();
  found.column_width = 120;
  found.indent_type = IndentType.Spaces;
  found.indent_width = 2;
  found.quote_style = QuoteStyle.AutoPreferSingle;
  return found;
}

let unformatted = 0;
for (const entry of readdirSync(plugin, { recursive: true })) {
  if (!entry.endsWith(".lua")) continue;
  const path = join(plugin, entry);
  const code = readFileSync(path, "utf8");
  const formatted = formatCode(code, config(), undefined, OutputVerification.None);
  if (formatted === code) continue;
  if (write) writeFileSync(path, formatted);
  else console.log(`${entry} is not formatted`), (unformatted += 1);
}
process.exit(unformatted ? 1 : 0);
