// The synchronous half of the embedded store: keys, values and revisions in one RocksDB, every transaction
// synced before it counts. EmbeddedStore runs it on the disk pool.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/metadata/metadata_store.h"
#include "protocol/result.h"

namespace rocksdb {
class DB;
class WriteBatch;
}  // namespace rocksdb

namespace millrace::metadata {

struct Commit {
  TransactionResult result;
  std::vector<Event> events;
};

// Not thread safe; one process at a time (RocksDB locks the directory).
class EmbeddedDatabase {
 public:
  // Opens or creates it in `directory`. Keys left by the leases of an earlier process are deleted, in a
  // transaction of their own. Fails with kKafkaStorageError.
  static Result<std::unique_ptr<EmbeddedDatabase>> open(const std::string& directory);
  ~EmbeddedDatabase();

  int64_t revision() const { return revision_; }
  Result<std::optional<KeyValue>> get(std::string_view key) const;
  Result<RangeResult> range(std::string_view prefix) const;
  // Fails with kInvalidRequest when an operation names an unknown lease or two name one key.
  Result<Commit> commit(const Transaction& transaction);

  LeaseId grant_lease();
  bool has_lease(LeaseId lease) const { return leases_.contains(lease); }
  // Deletes its keys.
  Result<Commit> revoke_lease(LeaseId lease);

 private:
  explicit EmbeddedDatabase(std::unique_ptr<rocksdb::DB> db);
  Result<> load();
  Result<bool> holds(const Compare& compare) const;
  Result<std::vector<Event>> stage(const Transaction& transaction, int64_t revision) const;
  Result<> write(const std::vector<Event>& events, int64_t revision);

  std::unique_ptr<rocksdb::DB> db_;
  int64_t revision_ = 0;
  LeaseId last_lease_ = kNoLease;
  std::set<LeaseId> leases_;
  std::map<std::string, LeaseId, std::less<>> leased_keys_;
};

}  // namespace millrace::metadata
