// Where the cluster's metadata lives: keys and values with revisions, as etcd has them. One interface, so
// that one node keeps them in RocksDB (EmbeddedStore) and a cluster in etcd. We write no consensus: whoever
// implements this answers for durability and order.
//
// Every successful transaction raises the store's revision by one. A key remembers the revision that created
// it and the last that changed it; a key deleted and put again is a new one (another create revision, version
// 1).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/runtime/task.h"
#include "protocol/result.h"

namespace millrace::metadata {

using LeaseId = int64_t;
constexpr LeaseId kNoLease = 0;

struct KeyValue {
  std::string key;
  std::string value;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;  // 1 when created, one more per put
  LeaseId lease = kNoLease;
  bool operator==(const KeyValue&) const = default;
};

// What a transaction requires of a key. A key that doesn't exist has 0 for all three.
struct Compare {
  enum class Target : int8_t { kVersion, kCreateRevision, kModRevision };
  std::string key;
  Target target = Target::kModRevision;
  int64_t expected = 0;
};

struct Operation {
  enum class Kind : int8_t { kPut, kDelete, kDeletePrefix };
  Kind kind = Kind::kPut;
  std::string key;
  std::string value = {};
  LeaseId lease = kNoLease;

  static Operation put(std::string key, std::string value, LeaseId lease = kNoLease) {
    return {Kind::kPut, std::move(key), std::move(value), lease};
  }
  static Operation remove(std::string key) { return {Kind::kDelete, std::move(key)}; }
  static Operation remove_prefix(std::string prefix) { return {Kind::kDeletePrefix, std::move(prefix)}; }
};

// All operations happen, at one revision, if all compares hold; else none. No key may be named by two
// operations.
struct Transaction {
  std::vector<Compare> compares;
  std::vector<Operation> operations;
};

struct TransactionResult {
  bool succeeded = false;
  // The store's revision afterwards: the transaction's own if it succeeded.
  int64_t revision = 0;
};

struct RangeResult {
  std::vector<KeyValue> entries;  // by key
  int64_t revision = 0;           // the store's when they were read
};

struct Event {
  bool is_delete = false;
  // Of a deletion: the key, and the revision that deleted it as mod_revision.
  KeyValue entry;
};

// What happened under a prefix, transactions whole and in order.
struct WatchBatch {
  std::vector<Event> events;
  int64_t revision = 0;  // everything up to here is in this batch or an earlier one
  // The store no longer has the events since the last batch: read the range again and watch from there.
  bool compacted = false;
};

class Watch {
 public:
  virtual ~Watch() = default;
  // Waits for the next batch. Fails with kOperationNotAttempted once the watch is closed. One caller at a
  // time.
  virtual runtime::Task<Result<WatchBatch>> next() = 0;
  // Makes a waiting next() fail, and every later one.
  virtual void close() = 0;
};

// All of it is called on one shard (the one that made it). Failures: kKafkaStorageError with what the disk or
// the server said; then nobody knows whether a transaction happened, until a read succeeds.
class MetadataStore {
 public:
  virtual ~MetadataStore() = default;

  virtual runtime::Task<Result<std::optional<KeyValue>>> get(std::string key) = 0;
  virtual runtime::Task<Result<RangeResult>> range(std::string prefix) = 0;
  // Durable when it returns.
  virtual runtime::Task<Result<TransactionResult>> commit(Transaction transaction) = 0;
  // Events after `revision` of keys that start with `prefix`.
  virtual std::unique_ptr<Watch> watch(std::string prefix, int64_t revision) = 0;

  // Keys put with a lease vanish when it ends: revoked, or not kept alive for `ttl_ms`, or the process died.
  virtual runtime::Task<Result<LeaseId>> grant_lease(int64_t ttl_ms) = 0;
  // False if it has already ended.
  virtual runtime::Task<Result<bool>> keep_alive(LeaseId lease) = 0;
  virtual runtime::Task<Result<>> revoke_lease(LeaseId lease) = 0;
};

}  // namespace millrace::metadata
