// The metadata store of a single node: an EmbeddedDatabase (RocksDB, synced writes) run on the disk pool, and
// watches within the process. A lease lasts as long as the process (a successor deletes what it left) or
// until it is revoked; its time to live has no effect, since a process that is alive keeps its leases alive.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "broker/metadata/embedded_database.h"
#include "broker/metadata/metadata_store.h"
#include "broker/metadata/turn.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/notifier.h"

namespace millrace::metadata {

class EmbeddedStore final : public MetadataStore {
 public:
  // Events kept for watches that lag; of the last transaction all are kept.
  static constexpr size_t kHistoryEvents = 65'536;

  // Blocks (start-up). Used and destroyed on one shard; the pool outlives it. `write_failed`: see
  // EmbeddedDatabase::open. Fails with kKafkaStorageError.
  static Result<std::unique_ptr<EmbeddedStore>> open(const std::string& directory, runtime::DiskPool& pool,
                                                     EmbeddedDatabase::WriteFailed write_failed = {});
  ~EmbeddedStore() override;

  runtime::Task<Result<std::optional<KeyValue>>> get(std::string key) override;
  runtime::Task<Result<RangeResult>> range(std::string prefix) override;
  runtime::Task<Result<TransactionResult>> commit(Transaction transaction) override;
  std::unique_ptr<Watch> watch(std::string prefix, int64_t revision) override;
  runtime::Task<Result<LeaseId>> grant_lease(int64_t ttl_ms) override;
  runtime::Task<Result<bool>> keep_alive(LeaseId lease) override;
  runtime::Task<Result<>> revoke_lease(LeaseId lease) override;

 private:
  // Outlives the store where a watch does.
  struct History {
    std::deque<Event> events;
    int64_t compacted_revision = 0;  // events up to here are gone
    int64_t revision = 0;
    bool closed = false;
    runtime::Notifier changed;
  };
  class EmbeddedWatch;

  EmbeddedStore(std::unique_ptr<EmbeddedDatabase> database, runtime::DiskPool& pool);
  template <class F>
  runtime::Task<std::invoke_result_t<F&>> on_disk(F f);
  TransactionResult record(Commit commit);

  std::shared_ptr<EmbeddedDatabase> database_;
  runtime::DiskPool& pool_;
  // RocksDB answers many at once, but transactions are decided one by one.
  TurnQueue turns_;
  std::shared_ptr<History> history_;
};

}  // namespace millrace::metadata
