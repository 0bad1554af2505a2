// kafkajs, driven by lines of JSON on standard input. Each request names an operation; each answer is one line; an
// error is {"error": ...}.
'use strict'
const readline = require('readline')
const kafkajs = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@mongodb-js/zstd')

const { CompressionTypes, CompressionCodecs } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (bytes) => lz4.decompressFrame(bytes),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder) => zstd.compress(encoder.buffer),
  decompress: (bytes) => zstd.decompress(bytes),
})

const TIMEOUT_MS = 60_000
const CODECS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }
const ACKS = { 0: 0, 1: 1, all: -1 }
let groups = 0

function connectTo(address) {
  return new kafkajs.Kafka({
    clientId: 'kafkajs',
    brokers: [address],
    logLevel: kafkajs.logLevel.ERROR,
    logCreator: () => (entry) => console.error(entry.namespace, entry.log.message),
    retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 60, restartOnFailure: async () => true },
  })
}

const bytes = (text) => (text === null ? null : Buffer.from(text, 'base64'))
const text = (data) => (data === null || data === undefined ? null : data.toString('base64'))
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

// kafkajs has the headers of one name together, in a list if there are several.
function headersOf(pairs) {
  const headers = {}
  for (const [name, value] of pairs) {
    if (!(name in headers)) headers[name] = bytes(value)
    else headers[name] = [].concat(headers[name], bytes(value))
  }
  return headers
}

function fieldsOf(message) {
  const headers = Object.entries(message.headers).flatMap(([name, values]) =>
    [].concat(values).map((value) => [name, text(value)]))
  return {
    key: text(message.key),
    value: text(message.value),
    headers,
    timestamp: Number(message.timestamp),
    offset: Number(message.offset),
  }
}

async function produce(request) {
  const producer = connectTo(request.address).producer({
    idempotent: request.idempotent,
    createPartitioner: () => () => request.partition,
    retry: { retries: 10 },
  })
  await producer.connect()
  try {
    const messages = request.records.map((record) => ({
      key: bytes(record.key),
      value: bytes(record.value),
      partition: request.partition,
      headers: headersOf(record.headers),
      ...(record.timestamp === null ? {} : { timestamp: String(record.timestamp) }),
    }))
    // kafkajs makes one batch of what it is given, and the broker has a limit.
    const limit = Number(request.options['message.max.bytes'] || 1_000_000)
    for (const batch of batches(messages, limit)) {
      await producer.send({
        topic: request.topic,
        messages: batch,
        acks: ACKS[request.acks],
        compression: CODECS[request.codec],
      })
    }
  } finally {
    await producer.disconnect()
  }
  return {}
}

function batches(messages, limit) {
  const made = [[]]
  let size = 0
  for (const message of messages) {
    const length = 100 + (message.key?.length || 0) + (message.value?.length || 0)
    if (size > 0 && size + length > limit) {
      made.push([])
      size = 0
    }
    made[made.length - 1].push(message)
    size += length
  }
  return made
}

async function offsets(address, topic, partition, timestamp) {
  const admin = connectTo(address).admin()
  await admin.connect()
  try {
    const at = (list) => list.find((found) => found.partition === partition)
    const end = Number(at(await admin.fetchTopicOffsets(topic)).high)
    if (timestamp === null) return { end }
    const found = Number(at(await admin.fetchTopicOffsetsByTimestamp(topic, timestamp)).offset)
    return { end, start: found < 0 ? end : found }
  } finally {
    await admin.disconnect()
  }
}

// Apache Kafka may not know a topic at once that was just created, and its coordinator takes a moment after a start:
// kafkajs takes the one for an error always, the other when it connects.
const PASSING = new Set(['UNKNOWN_TOPIC_OR_PARTITION', 'GROUP_LOAD_IN_PROGRESS'])

async function tryUntilItPasses(what) {
  for (let left = 100; ; --left) {
    try {
      return await what()
    } catch (error) {
      if (left === 0 || !PASSING.has(error.type)) throw error
      await sleep(100)
    }
  }
}

const subscribe = (consumer, topic) =>
  tryUntilItPasses(() => consumer.subscribe({ topics: [topic], fromBeginning: true }))

// kafkajs reads as a member of a group only: one for each call.
async function consume(request) {
  const { topic, partition } = request
  const { end, start = request.offset } = await offsets(request.address, topic, partition, request.timestamp)
  if (start >= end) return { records: [] }
  const consumer = connectTo(request.address).consumer({
    groupId: `kafkajs-${process.pid}-${++groups}`,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 8_000_000,
  })
  await tryUntilItPasses(() => consumer.connect())
  try {
    await subscribe(consumer, topic)
    const records = []
    const whole = new Promise((done, failed) => {
      setTimeout(() => failed(new Error(`${records.length} records, want up to ${end}`)), TIMEOUT_MS).unref()
      consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || failed(payload.error))
      consumer.run({
        autoCommit: false,
        eachBatch: async ({ batch, isStale }) => {
          if (batch.partition !== partition || isStale()) return
          for (const message of batch.messages) {
            const offset = Number(message.offset)
            if (offset >= start + records.length && offset < end) records.push(fieldsOf(message))
          }
          if (start + records.length >= end) done()
        },
      })
      consumer.seek({ topic, partition, offset: String(start) })
    })
    await whole
    return { records }
  } finally {
    await consumer.disconnect()
  }
}

// Commits after each batch that it has handled, before it gives kafkajs a chance to rebalance.
class Member {
  constructor(settings, topic) {
    this.values = []
    this.assigned = []
    this.failure = null
    this.consumer = connectTo(settings['bootstrap.servers']).consumer({
      groupId: settings['group.id'],
      heartbeatInterval: Number(settings['heartbeat.interval.ms'] || 3000),
      sessionTimeout: Number(settings['session.timeout.ms'] || 30000),
      maxWaitTimeInMs: 100,
    })
    const { GROUP_JOIN, REBALANCING, CRASH } = this.consumer.events
    this.consumer.on(GROUP_JOIN, ({ payload }) => {
      this.assigned = Object.entries(payload.memberAssignment)
        .flatMap(([name, partitions]) => partitions.map((partition) => `${name}-${partition}`)).sort()
    })
    this.consumer.on(REBALANCING, () => { this.assigned = [] })
    this.consumer.on(CRASH, ({ payload }) => {
      this.assigned = []
      if (!payload.restart) this.failure = String(payload.error)
    })
    this.started = this.start(topic).catch((error) => { this.failure = String(error) })
  }

  async start(topic) {
    await tryUntilItPasses(() => this.consumer.connect())
    await subscribe(this.consumer, topic)
    await this.consumer.run({ autoCommit: false, eachBatch: (work) => this.handle(work) })
  }

  async handle({ batch, isStale, isRunning }) {
    if (isStale() || !isRunning()) return
    for (const message of batch.messages) this.values.push(message.value.toString())
    const offset = String(Number(batch.lastOffset()) + 1)
    await this.consumer.commitOffsets([{ topic: batch.topic, partition: batch.partition, offset }])
  }

  look() {
    const values = this.values
    this.values = []
    return { values, assigned: this.assigned, failure: this.failure }
  }

  async close() {
    await this.started
    await this.consumer.disconnect()
    return this.look()
  }
}

const members = new Map()

async function closeMember(request) {
  const member = members.get(request.member)
  members.delete(request.member)
  return member.close()
}

const OPERATIONS = {
  produce,
  consume,
  open_member: async (request) => {
    members.set(request.member, new Member(request.settings, request.topic))
    return {}
  },
  look_at_member: async (request) => members.get(request.member).look(),
  close_member: closeMember,
}

async function main() {
  process.on('unhandledRejection', (error) => console.error('unhandled', error))
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    let answer
    try {
      answer = await OPERATIONS[request.operation](request)
    } catch (error) {
      answer = { error: String(error) }
    }
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
  process.exit(0)
}

main()
