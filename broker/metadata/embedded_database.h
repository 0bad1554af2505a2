// The synchronous half of the embedded store: keys, values and revisions in one RocksDB, every transaction
// synced before it counts. EmbeddedStore runs it on the disk pool.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/metadata/acknowledged_revision.h"
#include "broker/metadata/metadata_store.h"
#include "protocol/result.h"

namespace rocksdb {
class DB;
}  // namespace rocksdb

namespace millrace::metadata {

struct Commit {
  TransactionResult result;
  std::vector<Event> events;
};

// Not thread safe; one process at a time (RocksDB locks the directory).
//
// On a full disk transactions fail, and succeed again when there is space. One that failed has usually not
// happened; where it has (its write failed half way), that shows with the next one that succeeds.
class EmbeddedDatabase {
 public:
  using WriteFailed = std::function<void(const Error&)>;
  // Made by a person in the store's directory, it has a store opened that has lost transactions.
  static constexpr std::string_view kAcceptLossFile = "accept-loss";

  // Opens or creates it in `directory`. Keys left by the leases of an earlier process are deleted, in a
  // transaction of their own. `write_failed` is told when writing or syncing failed for another reason than a
  // full disk, which leaves unknown what is on disk. Fails with kKafkaStorageError, also where transactions
  // that were acknowledged are gone and nobody accepted that.
  static Result<std::unique_ptr<EmbeddedDatabase>> open(const std::string& directory,
                                                        WriteFailed write_failed = {});
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
  EmbeddedDatabase(std::string directory, WriteFailed write_failed);
  Result<> open_files();
  Result<> load_revision();
  Result<> check_for_loss();
  Result<> accept_loss(int64_t acknowledged);
  Result<> expire_leases();
  Result<bool> holds(const Compare& compare) const;
  Result<std::vector<Event>> stage(const Transaction& transaction, int64_t revision) const;
  Result<uint64_t> digest_after(const std::vector<Event>& events) const;
  // On success `revision` is the store's.
  Result<> write(const std::vector<Event>& events, int64_t revision);

  const std::string directory_;
  const WriteFailed write_failed_;
  std::unique_ptr<rocksdb::DB> db_;  // null while it can't be opened again
  bool must_reopen_ = false;
  int64_t revision_ = 0;
  uint64_t digest_ = 0;  // of all entries
  AcknowledgedRevision acknowledged_;
  LeaseId last_lease_ = kNoLease;
  std::set<LeaseId> leases_;
  std::map<std::string, LeaseId, std::less<>> leased_keys_;
};

}  // namespace millrace::metadata
