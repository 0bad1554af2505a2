#include "broker/replication/commit_loop.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "broker/replication/partition.h"
#include "broker/runtime/logging.h"
#include "broker/runtime/random.h"

namespace millrace::replication {
namespace {

// Between tries to make a journal file where the disk has no room for one.
constexpr int64_t kFileRetryMs = 60'000;
// For so long at most, about what a fast disk's sync takes, a busy shard puts off a round.
constexpr int64_t kGatherNs = 300'000;
// Of the shard's loop: the responses go out, what comes back is seen, and appended.
constexpr int kTurnsToAnswer = 3;

}  // namespace

// One round's partitions, and what is to be done for them on disk.
struct CommitLoop::Round {
  struct Member {
    std::weak_ptr<Partition> partition;
    storage::LogCommit commit;
  };

  std::vector<Member> members;
  std::vector<storage::Journal::Write> groups;

  // On a thread of the disk pool.
  Result<> make_durable(storage::FileSystem& files) const {
    for (const storage::Journal::Write& group : groups) {
      if (auto written = storage::Journal::write(group); !written) return written;
    }
    for (const Member& member : members) {
      if (auto synced = member.commit.dirty.sync(files); !synced) return synced;
    }
    return {};
  }
};

CommitLoop::CommitLoop(runtime::Shard& shard, Options options)
    : shard_(shard),
      options_(std::move(options)),
      journal_(options_.log_directory.journals().next_run(runtime::Random::system_seed()),
               storage::JournalDirectory::kFileBytes),
      checkpointer_(shard, {.disk_pool = options_.disk_pool,
                            .files = options_.files,
                            .log_directory = options_.log_directory,
                            .journal = journal_,
                            .sync_failed = options_.sync_failed}) {}

void CommitLoop::request_sync(Partition& partition) {
  if (partition.sync_requested()) return;
  partition.set_sync_requested(true);
  requested_.push_back(partition.weak_from_this());
  wakeup_.notify_one();
}

void CommitLoop::request_sync_by(Partition& partition, int64_t deadline_ns) {
  by_deadline_.emplace(deadline_ns, partition.weak_from_this());
  wakeup_.notify_one();
}

void CommitLoop::request_what_is_due() {
  const int64_t now_ns = shard_.clock().monotonic_ns();
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now_ns) {
    if (const auto partition = by_deadline_.begin()->second.lock()) partition->sync_due();
    by_deadline_.erase(by_deadline_.begin());
  }
}

runtime::Task<> CommitLoop::run() {
  running_ = true;
  shard_.spawn([this] { return checkpointer_.run(); });
  while (!stopping_ || !requested_.empty()) {
    if (!by_deadline_.empty()) request_what_is_due();
    if (requested_.empty()) {
      co_await wakeup_.wait_until(by_deadline_.empty() ? runtime::kNever : by_deadline_.begin()->first);
    } else {
      co_await gather();
      co_await commit_round();
    }
  }
  co_await checkpointer_.stop();
  while (preparing_file_) co_await wakeup_.wait();
  running_ = false;
  ended_.notify_all();
}

runtime::Task<> CommitLoop::stop() {
  stopping_ = true;
  wakeup_.notify_all();
  while (running_) co_await ended_.wait();
}

// A round costs as much for many as for few. Those whose requests have arrived take part, and those who
// answer at once to what the round before has told them.
runtime::Task<> CommitLoop::gather() {
  const int64_t deadline_ns = shard_.clock().monotonic_ns() + kGatherNs;
  uint64_t before = 0;
  int turns = 0;
  do {
    before = appends_;
    co_await runtime::asio::post(shard_.executor(), runtime::kUseTask);
  } while ((++turns < kTurnsToAnswer || appends_ != before) && shard_.clock().monotonic_ns() < deadline_ns);
}

CommitLoop::Round CommitLoop::take_round() {
  Round round;
  round.members.reserve(requested_.size());
  for (auto& held : std::exchange(requested_, {})) {
    const auto partition = held.lock();
    if (!partition) continue;
    partition->set_sync_requested(false);
    if (partition->removed()) continue;
    auto commit = partition->log().take_commit();
    if (!commit) {
      options_.sync_failed(commit.error());
      partition->log().mark_failed(commit.error());
      continue;
    }
    round.members.push_back({std::move(held), std::move(*commit)});
  }
  round.groups = journal_.take();
  return round;
}

runtime::Task<> CommitLoop::commit_round() {
  const Round round = take_round();
  auto make_durable = [&round, &files = options_.files] { return round.make_durable(files); };
  const Result<> durable = co_await options_.sync_pool.run(std::move(make_durable));
  journal_.done();
  if (!durable) options_.sync_failed(durable.error());
  for (const Round::Member& member : round.members) {
    const auto partition = member.partition.lock();
    if (!partition || partition->removed()) continue;
    if (durable) {
      partition->committed(member.commit);
    } else {
      partition->log().mark_failed(durable.error());
    }
  }
  if (journal_.has_full()) checkpointer_.hurry();
  if (journal_.wants_file()) prepare_file();
}

void CommitLoop::prepare_file() {
  if (preparing_file_ || stopping_ || shard_.clock().monotonic_ns() < next_file_try_ns_) return;
  preparing_file_ = true;
  shard_.spawn([this] { return add_file(); });
}

// Until there is one, and where the disk has no room for one, segments are synced.
runtime::Task<> CommitLoop::add_file() {
  auto take = [this] { return options_.log_directory.journals().take_file(journal_.run()); };
  auto file = co_await options_.disk_pool.run(take);
  preparing_file_ = false;
  // Told once, when it begins and when it ends, by whichever shard meets it first.
  const bool is_news = options_.log_directory.journals().note_taken(file.has_value());
  if (file) {
    if (is_news) runtime::log_info("Journal files can be made again");
    if (auto surplus = journal_.add_file(std::move(*file)))
      options_.log_directory.journals().give_back(std::move(surplus));
  } else {
    next_file_try_ns_ = shard_.clock().deadline_in_ms(kFileRetryMs);
    if (is_news) {
      runtime::log_warning(
          "No journal file could be made, so every segment is synced by itself, which is slower; it is tried "
          "again every minute: {}",
          file.error().message);
    }
  }
  wakeup_.notify_all();
}

}  // namespace millrace::replication
