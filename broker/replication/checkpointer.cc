#include "broker/replication/checkpointer.h"

#include <algorithm>
#include <utility>

#include "broker/replication/partition.h"
#include "broker/runtime/logging.h"
#include "storage/descriptors.h"

namespace millrace::replication {
namespace {

// From so many files on, one sync of the whole file system costs less (measured on ext4: with 10 files a
// fifth).
constexpr size_t kSyncAllFiles = 8;
// Partitions between which requests get a turn.
constexpr size_t kPartitionsPerTurn = 32;

}  // namespace

struct Checkpointer::Member {
  std::weak_ptr<Partition> partition;
  storage::LogCheckpointing checkpointing;
};

struct Checkpointer::Begun {
  std::vector<Member> members;
  bool has_all = true;  // partitions that have changed
};

namespace {

Result<> sync(const auto& members, storage::FileSystem& files, const std::string& directory) {
  size_t count = 0;
  for (const auto& member : members) count += member.checkpointing.dirty.files.size();
  if (count >= kSyncAllFiles) return files.sync_all(directory);
  for (const auto& member : members) {
    if (auto synced = member.checkpointing.dirty.sync(files); !synced) return synced;
  }
  return {};
}

Result<> sync_and_store(auto& members, storage::FileSystem& files, const std::string& directory) {
  if (auto synced = sync(members, files, directory); !synced) return synced;
  for (auto& member : members) member.checkpointing.store();
  return {};
}

}  // namespace

void Checkpointer::appended(Partition& partition, size_t bytes) {
  bytes_ += bytes;
  if (!partition.checkpoint_requested()) {
    partition.set_checkpoint_requested(true);
    changed_.push_back(partition.weak_from_this());
    if (changed_.size() == 1) {
      deadline_ns_ = shard_.clock().deadline_in_ms(kMaxDelayMs);
      wakeup_.notify_one();
    }
  }
  if ((bytes_ >= kMaxBytes && bytes_ - bytes < kMaxBytes) || storage::descriptors_are_scarce())
    wakeup_.notify_one();
}

void Checkpointer::hurry() {
  if (shard_.clock().monotonic_ns() < next_full_ns_ || std::exchange(hurried_, true)) return;
  wakeup_.notify_one();
}

bool Checkpointer::is_due() const {
  return hurried_ || bytes_ >= kMaxBytes || shard_.clock().monotonic_ns() >= deadline_ns_ || files_are_due();
}

bool Checkpointer::files_are_due() const {
  return storage::descriptors_are_scarce() && !changed_.empty() &&
         shard_.clock().monotonic_ns() >= next_scarce_ns_;
}

runtime::Task<> Checkpointer::run() {
  running_ = true;
  while (!stopping_) {
    if (is_due()) {
      co_await checkpoint();
    } else {
      // Where descriptors are short, appends fail, and nobody comes to tell.
      const bool is_scarce = storage::descriptors_are_scarce() && !changed_.empty();
      co_await wakeup_.wait_until(is_scarce ? std::min(deadline_ns_, next_scarce_ns_) : deadline_ns_);
    }
  }
  running_ = false;
  ended_.notify_all();
}

runtime::Task<> Checkpointer::stop() {
  stopping_ = true;
  wakeup_.notify_all();
  while (running_) co_await ended_.wait();
}

runtime::Task<> Checkpointer::checkpoint() {
  hurried_ = false;
  if (storage::descriptors_are_scarce()) next_scarce_ns_ = shard_.clock().deadline_in_ms(kScarceDelayMs);
  bytes_ = 0;
  deadline_ns_ = runtime::kNever;
  // Whatever is in these files was appended to a partition that is in changed_ now.
  auto full = options_.journal.take_full();
  const storage::JournalPosition begun_at = options_.journal.next_position();
  Begun begun = co_await begin();
  std::vector<Member>& members = begun.members;
  auto sync_members = [&] { return sync_and_store(members, options_.files, options_.log_directory.path()); };
  const Result<> synced = co_await options_.disk_pool.run(sync_members);
  if (!synced) co_return options_.sync_failed(synced.error());
  if (begun.has_all) {
    options_.journal.set_needed_from(begun_at);
    for (auto& file : full) {
      if (auto surplus = options_.journal.reuse(std::move(file)))
        options_.log_directory.journals().give_back(std::move(surplus));
    }
  } else {
    options_.journal.put_back_full(std::move(full));
    next_full_ns_ = shard_.clock().deadline_in_ms(kRefusedDelayMs);
  }
  if (begun.has_all && std::exchange(is_refused_, false))
    runtime::log_info("What logs held back could be written; the journal's files are free again");
  co_await finish(members);
  auto flush = [this] { return options_.log_directory.index().flush(); };
  const Result<> flushed = co_await options_.disk_pool.run(flush);
  if (!flushed) runtime::log_warning("The next start may take longer: {}", flushed.error().message);
}

runtime::Task<Checkpointer::Begun> Checkpointer::begin() {
  Begun begun;
  size_t turn = 0;
  for (auto& held : std::exchange(changed_, {})) {
    if (++turn % kPartitionsPerTurn == 0) co_await shard_.sleep_ms(0);
    const auto partition = held.lock();
    if (!partition || partition->removed()) continue;
    partition->set_checkpoint_requested(false);
    // An offline log, too: what it acknowledged is no less durable for that.
    auto checkpointing = partition->log().begin_checkpoint();
    if (checkpointing) {
      begun.members.push_back({std::move(held), std::move(*checkpointing)});
    } else if (storage::is_full_disk(checkpointing.error())) {
      // What the log holds back is in the journal, and stays there until the disk takes it.
      begun.has_all = false;
      appended(*partition, 0);
      if (!std::exchange(is_refused_, true)) {
        runtime::log_error(
            "{}: what it holds back can't be written: {}. The journal has it, and keeps its files until that "
            "changes; another line comes then",
            partition->log().name(), checkpointing.error().message);
      }
    } else {
      options_.sync_failed(checkpointing.error());
    }
  }
  co_return begun;
}

runtime::Task<> Checkpointer::finish(const std::vector<Member>& members) {
  size_t turn = 0;
  for (const Member& member : members) {
    if (++turn % kPartitionsPerTurn == 0) co_await shard_.sleep_ms(0);
    const auto partition = member.partition.lock();
    if (!partition || partition->removed() || partition->log().is_offline()) continue;
    partition->log().finish_checkpoint(member.checkpointing);
    if (storage::descriptors_are_scarce()) partition->log().close_synced();
  }
}

}  // namespace millrace::replication
