// Compresses what was built once and well, so that the server never does: a .br and a .gz beside each file.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const SMALL = 512; // below this a second packet is not saved

function walk(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) walk(path);
    else if (!/\.(br|gz|png|woff2)$/.test(name)) {
      const data = readFileSync(path);
      if (data.length < SMALL) continue;
      writeFileSync(`${path}.gz`, gzipSync(data, { level: 9 }));
      const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length };
      writeFileSync(`${path}.br`, brotliCompressSync(data, { params }));
    }
  }
}
walk(new URL("../ksql/_web", import.meta.url).pathname);
