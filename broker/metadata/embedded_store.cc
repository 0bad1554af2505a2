#include "broker/metadata/embedded_store.h"

namespace millrace::metadata {

class EmbeddedStore::EmbeddedWatch final : public Watch {
 public:
  EmbeddedWatch(std::shared_ptr<History> history, std::string prefix, int64_t revision)
      : history_(std::move(history)), prefix_(std::move(prefix)), revision_(revision) {}

  runtime::Task<Result<WatchBatch>> next() override {
    const std::shared_ptr<History> history = history_;
    while (true) {
      if (closed_ || history->closed) {
        co_return fail(ErrorCode::kOperationNotAttempted, "the watch is closed");
      }
      if (revision_ < history->compacted_revision) {
        WatchBatch batch;
        batch.compacted = true;
        co_return batch;
      }
      if (revision_ < history->revision) co_return take();
      co_await history->changed.wait();
    }
  }

  void close() override {
    closed_ = true;
    history_->changed.notify_all();
  }

 private:
  WatchBatch take() {
    WatchBatch batch;
    auto first = history_->events.end();
    while (first != history_->events.begin() && std::prev(first)->entry.mod_revision > revision_) --first;
    for (; first != history_->events.end(); ++first) {
      if (first->entry.key.starts_with(prefix_)) batch.events.push_back(*first);
    }
    batch.revision = revision_ = history_->revision;
    return batch;
  }

  std::shared_ptr<History> history_;
  std::string prefix_;
  int64_t revision_;
  bool closed_ = false;
};

Result<std::unique_ptr<EmbeddedStore>> EmbeddedStore::open(const std::string& directory,
                                                           runtime::DiskPool& pool,
                                                           EmbeddedDatabase::WriteFailed write_failed) {
  Result<std::unique_ptr<EmbeddedDatabase>> database =
      EmbeddedDatabase::open(directory, std::move(write_failed));
  if (!database) return std::unexpected(database.error());
  return std::unique_ptr<EmbeddedStore>(new EmbeddedStore(std::move(*database), pool));
}

EmbeddedStore::EmbeddedStore(std::unique_ptr<EmbeddedDatabase> database, runtime::DiskPool& pool)
    : database_(std::move(database)), pool_(pool), history_(std::make_shared<History>()) {
  history_->revision = history_->compacted_revision = database_->revision();
}

EmbeddedStore::~EmbeddedStore() {
  history_->closed = true;
  history_->changed.notify_all();
}

// Runs f(database) on the disk pool, alone. The job owns what it needs: its coroutine may be destroyed before
// it.
template <class F>
runtime::Task<std::invoke_result_t<F&>> EmbeddedStore::on_disk(F f) {
  TurnQueue::Turn turn = co_await turns_.take();
  try {
    co_return co_await pool_.run(std::move(f));
  } catch (const runtime::ShardStopped&) {
    co_return fail(ErrorCode::kKafkaStorageError, "the broker is stopping");
  }
}

TransactionResult EmbeddedStore::record(Commit commit) {
  if (commit.result.revision <= history_->revision) return commit.result;
  std::deque<Event>& events = history_->events;
  if (!commit.result.succeeded || commit.result.revision > history_->revision + 1) {
    // A transaction whose failure was answered has happened all the same: whoever watches reads everything
    // anew.
    events.clear();
    commit.events.clear();
    history_->compacted_revision = commit.result.revision;
  }
  while (!events.empty() && events.size() + commit.events.size() > kHistoryEvents) {
    // A revision goes whole.
    const int64_t oldest = events.front().entry.mod_revision;
    while (!events.empty() && events.front().entry.mod_revision == oldest) events.pop_front();
    history_->compacted_revision = oldest;
  }
  for (Event& event : commit.events) events.push_back(std::move(event));
  history_->revision = commit.result.revision;
  history_->changed.notify_all();
  return commit.result;
}

runtime::Task<Result<std::optional<KeyValue>>> EmbeddedStore::get(std::string key) {
  auto job = [database = database_, key = std::move(key)] { return database->get(key); };
  co_return co_await on_disk(std::move(job));
}

runtime::Task<Result<RangeResult>> EmbeddedStore::range(std::string prefix) {
  auto job = [database = database_, prefix = std::move(prefix)] { return database->range(prefix); };
  co_return co_await on_disk(std::move(job));
}

runtime::Task<Result<TransactionResult>> EmbeddedStore::commit(Transaction transaction) {
  auto job = [database = database_, transaction = std::move(transaction)] {
    return database->commit(transaction);
  };
  Result<Commit> committed = co_await on_disk(std::move(job));
  if (!committed) co_return std::unexpected(committed.error());
  co_return record(std::move(*committed));
}

std::unique_ptr<Watch> EmbeddedStore::watch(std::string prefix, int64_t revision) {
  return std::make_unique<EmbeddedWatch>(history_, std::move(prefix), revision);
}

runtime::Task<Result<LeaseId>> EmbeddedStore::grant_lease(int64_t) {
  auto job = [database = database_]() -> Result<LeaseId> { return database->grant_lease(); };
  co_return co_await on_disk(std::move(job));
}

runtime::Task<Result<bool>> EmbeddedStore::keep_alive(LeaseId lease) {
  auto job = [database = database_, lease]() -> Result<bool> { return database->has_lease(lease); };
  co_return co_await on_disk(std::move(job));
}

runtime::Task<Result<>> EmbeddedStore::revoke_lease(LeaseId lease) {
  auto job = [database = database_, lease] { return database->revoke_lease(lease); };
  Result<Commit> committed = co_await on_disk(std::move(job));
  if (!committed) co_return std::unexpected(committed.error());
  record(std::move(*committed));
  co_return Result<>{};
}

}  // namespace millrace::metadata
