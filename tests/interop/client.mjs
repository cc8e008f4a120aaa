// client.mjs CASES: transformers.js loads the directories that node_cases.py wrote and computes the same numbers and tokens.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as transformers from '@huggingface/transformers';

const TOLERANCE = 1e-4;
const directory = resolve(process.argv[2]);

transformers.env.allowRemoteModels = false;
transformers.env.localModelPath = directory;
transformers.env.useFSCache = false;

function assert(condition, message) {
    if (!condition) throw new Error(message);
}

function close(name, got, want, tolerance = TOLERANCE) {
    assert(`${got.dims}` === `${want.dims}`, `${name}: shape [${got.dims}], expected [${want.dims}]`);
    const limit = tolerance * want.data.reduce((max, x) => Math.max(max, Math.abs(x)), 1);
    const difference = want.data.reduce((max, x, i) => Math.max(max, Math.abs(x - Number(got.data[i]))), 0);
    assert(difference <= limit, `${name}: largest difference ${difference}, limit ${limit}`);
    return difference;
}

function load(test) {
    const options = { dtype: test.dtype ?? 'fp32', device: 'cpu', use_external_data_format: test.external ?? null };
    return transformers[test.class].from_pretrained(test.name, options);
}

function feed(test) {
    const tensor = ({ dims, data }) => new transformers.Tensor('int64', BigInt64Array.from(data, BigInt), dims);
    return Object.fromEntries(Object.entries(test.inputs).map(([name, value]) => [name, tensor(value)]));
}

const kinds = {
    async forward(test) {
        const outputs = await (await load(test))(feed(test));
        const worst = Object.entries(test.outputs).map(([name, want]) => close(name, outputs[name], want, test.tolerance));
        return Math.max(...worst).toExponential(1);
    },

    async generate(test) {
        const model = await load(test);
        const tokens = (await model.generate({ ...feed(test), ...test.options })).tolist();
        const text = JSON.stringify(tokens.map((row) => row.map(Number)));
        if (test.exact === false) {
            assert(tokens[0].length === test.tokens[0].length, `${tokens[0].length} tokens, expected ${test.tokens[0].length}`);
            return `${tokens[0].length} tokens`;
        }
        assert(text === JSON.stringify(test.tokens), `tokens ${text}, expected ${JSON.stringify(test.tokens)}`);
        return `${tokens[0].length} tokens`;
    },

    async embed(test) {
        const embed = await transformers.pipeline('feature-extraction', test.name, { dtype: 'fp32', device: 'cpu' });
        const got = await embed(test.texts, { pooling: 'mean', normalize: true });
        return close('embeddings', got, test.outputs).toExponential(1);
    },
};

let passed = 0;
let failed = 0;
for (const test of JSON.parse(readFileSync(`${directory}/cases.json`))) {
    const name = `transformers.js ${test.kind} ${test.name}${test.dtype ? ` ${test.dtype}` : ''}`;
    try {
        const detail = await kinds[test.kind](test);
        passed++;
        console.log(`ok   ${name} (${detail})`);
    } catch (error) {
        failed++;
        console.log(`FAILED ${name}: ${error.message ?? error}`);
    }
}
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exitCode = failed ? 1 : 0;
