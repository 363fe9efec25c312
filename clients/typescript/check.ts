// Drives a live service with the client that was generated from its own /openapi.json; `make client-check` runs it.
import assert from 'node:assert/strict';
import { client } from './generated/client.gen.js';
import { cancelTask, createGroup, createTask, getGroup, getTask, listTasks } from './generated/sdk.gen.js';
import type { Task } from './generated/types.gen.js';

const url = process.env.TASKMILL_URL;
assert(url, 'TASKMILL_URL is not set');
client.setConfig({ baseUrl: url, headers: process.env.TASKMILL_KEY ? { 'X-API-Key': process.env.TASKMILL_KEY } : {} });

async function ended(task_id: string): Promise<Task> {
  for (;;) {
    const { data } = await getTask({ path: { task_id }, throwOnError: true });
    if (['completed', 'failed', 'canceled'].includes(data.status)) return data;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const mark = crypto.randomUUID();
const content = { mark, words: 'é\u2028"', deep: [1, 2.5, null, { a: true }] };
const { data: created } = await createTask({ body: { content, priority: 'high' }, throwOnError: true });
assert.equal(created.status, 'pending');
assert.deepEqual(created.content, content);
console.log('createTask', created.id, created.status);

const done = await ended(created.id);
assert.equal(done.status, 'completed');
console.log('getTask', done.id, done.status, `in attempt ${done.attempt}`);

const { data: later } = await createTask({ body: { content: { mark }, delay_seconds: 600 }, throwOnError: true });
const { data: canceled } = await cancelTask({ path: { task_id: later.id }, throwOnError: true });
assert.equal(canceled.status, 'canceled');
console.log('cancelTask', canceled.id, canceled.status);

const { error, response } = await cancelTask({ path: { task_id: created.id } });
assert.equal(response?.status, 400);
assert.equal(error?.detail, "The task is already completed; it can't be canceled.");
console.log('cancelTask', created.id, response?.status, error.detail);

const { error: wrong } = await createTask({ body: { content, timeout_seconds: -1 } });
assert.deepEqual(wrong?.errors?.map((one) => one.pointer), ['/timeout_seconds']);
console.log('createTask', wrong?.status, JSON.stringify(wrong?.errors));

const query = { status: ['completed' as const, 'canceled' as const], content: { 'content.mark': mark }, limit: 1 };
const { data: first } = await listTasks({ query, throwOnError: true });
const { data: second } = await listTasks({ query: { ...query, cursor: first.next ?? '' }, throwOnError: true });
const listed = [...first.tasks, ...second.tasks].map((task) => task.id);
assert.deepEqual(listed, [later.id, created.id]);
console.log('listTasks', listed.join(' '));

const { data: group } = await createGroup({ body: { tasks: [{ content: 1 }, { content: 2 }] }, throwOnError: true });
for (const id of group.task_ids) await ended(id);
const { data: all } = await getGroup({ path: { group_id: group.id }, throwOnError: true });
assert.equal(all.counts.completed, 2);
console.log('getGroup', all.id, `${all.counts.completed} of ${all.total} completed`);
