// `node --import node20.mjs …`: the conformance suite imports `globSync`, which Node has from 22 on, for a command that
// no test calls. On an older Node the import gets a function that says so, and the suite's other commands run.
import fs from "node:fs";
import { register } from "node:module";

if (!("globSync" in fs)) {
  const names = Object.keys(fs).filter((name) => name !== "default");
  const patched = `import fs from "node:fs";
    export const { ${names.join(", ")} } = fs;
    export const globSync = () => { throw new Error("this Node has no fs.globSync"); };
    export default fs;`;
  const hook = `export const resolve = (named, context, next) =>
    named === "fs" ? { url: ${JSON.stringify(inline(patched))}, shortCircuit: true } : next(named, context);`;
  register(inline(hook));
}

function inline(source) {
  return "data:text/javascript," + encodeURIComponent(source);
}
