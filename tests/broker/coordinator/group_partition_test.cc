#include "broker/coordinator/group_partition.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "broker/coordinator/group_record_codec.h"
#include "broker/runtime/clock.h"
#include "broker/runtime/shard_group.h"
#include "protocol/record_batch.h"
#include "tests/broker/coordinator/group_driver.h"

namespace millrace::coordinator {
namespace {

// What outlives a coordinator: the batches, and how far they are committed.
struct Disk {
  std::vector<Buffer> batches;
  int64_t end = 0;
  int64_t committed = 0;
  bool hold = false;  // nothing is committed until released
  bool hold_reading = false;
  Result<> broken;
  std::optional<ErrorCode> append_error;
  runtime::Notifier changed;
};

class MemoryLog final : public CoordinatorLog {
 public:
  explicit MemoryLog(Disk& disk) : disk_(disk) {}
  runtime::Task<Result<int64_t>> read_all(const BatchReader& fn) override {
    while (disk_.hold_reading) co_await disk_.changed.wait();
    for (const Buffer& batch : disk_.batches) {
      if (auto read = fn(batch); !read) co_return std::unexpected(read.error());
    }
    co_return disk_.end;
  }
  Result<int64_t> append(MutableBytes batch, int64_t) override {
    if (disk_.append_error) return fail(*disk_.append_error);
    protocol::set_base_offset(batch, disk_.end);
    const auto header = protocol::read_batch_header(batch);
    REQUIRE(header);
    REQUIRE(protocol::crc_matches(batch));
    // What the log doesn't check any more (AppendOrigin::kCoordinator).
    REQUIRE(header->compression() == protocol::Compression::kNone);
    int64_t next = disk_.end;
    const auto is_as_promised = [&](const protocol::RecordView& record) {
      return record.key && record.offset == next++ && record.timestamp_ms == header->max_timestamp_ms;
    };
    REQUIRE(protocol::for_each_record(batch, SIZE_MAX, is_as_promised));
    REQUIRE(next == header->last_offset() + 1);
    const int64_t base = std::exchange(disk_.end, header->last_offset() + 1);
    disk_.batches.emplace_back(batch.begin(), batch.end());
    return base;
  }
  size_t max_batch_bytes() const override { return 1 << 20; }
  runtime::Task<Result<>> wait_committed(int64_t end_offset) override {
    while (disk_.hold && disk_.broken) co_await disk_.changed.wait();
    disk_.committed = end_offset;
    co_return disk_.broken;
  }

 private:
  Disk& disk_;
};

class Fixture {
 public:
  template <class F>
  auto on_shard(F f) {
    return shards_[0].run(std::move(f));
  }

  explicit Fixture(const runtime::Clock& clock = runtime::SystemClock::instance()) : shards_(1, clock, 1) {}
  ~Fixture() {
    stop();
    on_shard([this] { return disk.changed.notify_all(), 0; });
  }

  Disk disk;

  void start() {
    on_shard([this] {
      settings_.initial_rebalance_delay_ms = 10;
      partition_ = std::make_shared<GroupPartition>(shards_[0], "test-0", settings_,
                                                    std::make_unique<MemoryLog>(disk));
      partition_->start();
      return 0;
    });
  }
  void stop() {
    if (!partition_) return;
    auto end = [this]() -> runtime::Task<> {
      partition_->stop();
      co_await partition_->ended();
      partition_.reset();
    };
    shards_[0].run(std::move(end));
  }
  template <class T>
  T call(GroupRequest request) {
    auto handle = [this, request = std::move(request)]() -> runtime::Task<GroupResponse> {
      const auto partition = partition_;
      co_return co_await partition->handle(request);
    };
    return std::get<T>(shards_[0].run(std::move(handle)));
  }
  // Starts a request and doesn't wait; the answer appears in `answers`.
  void send(GroupRequest request) {
    auto handle = [this, request = std::move(request)]() -> runtime::Task<> {
      const auto partition = partition_;
      auto response = co_await partition->handle(request);
      answers.push_back(std::move(response));
      answered_.notify_all();
    };
    on_shard([this, &handle] { return shards_[0].spawn(std::move(handle)), 0; });
  }
  // Starts all of them in one turn of the shard, in this order.
  void send_together(const std::vector<GroupRequest>& requests, bool then_stop = false) {
    on_shard([&] {
      for (const GroupRequest& request : requests) {
        auto handle = [this, request]() -> runtime::Task<> {
          const auto partition = partition_;
          auto response = co_await partition->handle(request);
          answers.push_back(std::move(response));
          answered_.notify_all();
        };
        shards_[0].spawn(std::move(handle));
      }
      if (then_stop) partition_->stop();
      return 0;
    });
  }
  void send_all(std::vector<GroupRequest> requests) {
    auto handle = [this, requests = std::move(requests)]() -> runtime::Task<> {
      const auto partition = partition_;
      std::vector<const GroupRequest*> asked;
      for (const GroupRequest& request : requests) asked.push_back(&request);
      answers = co_await partition->handle_all(asked);
      answered_.notify_all();
    };
    on_shard([this, &handle] { return shards_[0].spawn(std::move(handle)), 0; });
  }
  void await_answers(size_t count) {
    auto wait = [this, count]() -> runtime::Task<> {
      while (answers.size() < count) co_await answered_.wait();
    };
    shards_[0].run(std::move(wait));
  }
  std::vector<GroupResponse> answers;

 private:
  GroupSettings settings_;
  runtime::ShardGroup shards_;
  runtime::Notifier answered_;
  std::shared_ptr<GroupPartition> partition_;
};

ErrorCode code(const GroupResponse& response) { return std::get<OffsetCommitResult>(response).errors.at(0); }

int64_t position(Fixture& fixture) {
  return fixture.call<OffsetFetchResult>(fetch("g", "t", 0)).topics.at(0).partitions.at(0).offset;
}

TEST_CASE("commits and members survive the coordinator") {
  Fixture fixture;
  fixture.start();
  CHECK(code(fixture.call<OffsetCommitResult>(commit("g", "t", 0, 5))) == ErrorCode::kNone);
  const auto joined = fixture.call<JoinGroupResult>(join("h"));
  REQUIRE(joined.error == ErrorCode::kNone);
  SyncGroup sync{"h", joined.member, {}, 1, {}, {}, {{joined.member, bytes("all")}}};
  CHECK(text(fixture.call<SyncGroupResult>(sync).assignment) == "all");
  fixture.stop();
  fixture.start();
  CHECK(position(fixture) == 5);
  CHECK(fixture.call<HeartbeatResult>(Heartbeat{"h", joined.member, {}, 1}).error == ErrorCode::kNone);
  CHECK(fixture.call<DeleteGroupResult>(DeleteGroup{"g"}).error == ErrorCode::kNone);
  fixture.stop();
  fixture.start();
  CHECK(position(fixture) == -1);
}

TEST_CASE("commits are kept with the time of the wall clock, also after it was set") {
  constexpr int64_t kStartMs = 1'700'000'000'000;
  runtime::ManualClock clock(kStartMs);
  Fixture fixture(clock);
  fixture.start();
  REQUIRE(position(fixture) == -1);
  clock.set_wall_ms(kStartMs + 86'400'000);
  CHECK(code(fixture.call<OffsetCommitResult>(commit("g", "t", 0, 5))) == ErrorCode::kNone);
  fixture.stop();
  REQUIRE(fixture.disk.batches.size() == 1);
  std::vector<int64_t> times;
  auto note = [&](const protocol::RecordView& record) {
    times.push_back(record.timestamp_ms);
    const auto decoded = decode_record(record.key, record.value);
    REQUIRE(decoded);
    times.push_back(std::get<OffsetCommitRecord>(**decoded).value->commit_timestamp_ms);
    return true;
  };
  REQUIRE(protocol::for_each_record(fixture.disk.batches[0], 1000, note));
  CHECK(times == std::vector<int64_t>(2, kStartMs + 86'400'000));
}

TEST_CASE("a request waits until its records are committed") {
  Fixture fixture;
  fixture.start();
  fixture.on_shard([&] { return fixture.disk.hold = true; });
  fixture.send(commit("g", "t", 0, 5));
  fixture.send(fetch("g", "t", 0));
  CHECK(fixture.call<OffsetFetchResult>(fetch("other", "t", 0)).error == ErrorCode::kNone);
  CHECK(fixture.on_shard([&] { return fixture.answers.size(); }) == 0);
  fixture.on_shard([&] {
    fixture.disk.hold = false;
    fixture.disk.changed.notify_all();
    return 0;
  });
  fixture.await_answers(2);
  CHECK(code(fixture.answers[0]) == ErrorCode::kNone);
}

TEST_CASE("commits that come together share a batch, unless one can't be written") {
  Fixture fixture;
  fixture.start();
  REQUIRE(position(fixture) == -1);
  fixture.send_together({commit("g", "t", 0, 5), commit("h", "t", 0, 6), commit("g", "t", 0, 7)});
  fixture.await_answers(3);
  for (const GroupResponse& answer : fixture.answers) CHECK(code(answer) == ErrorCode::kNone);
  CHECK(fixture.disk.batches.size() == 1);
  CHECK(fixture.disk.end == 3);
  CHECK(position(fixture) == 7);

  fixture.answers.clear();
  const std::string too_long(40'000, 'x');
  fixture.send_together({commit("g", "t", 0, 8), commit(too_long, "t", 0, 1), commit("h", "t", 0, 9)});
  fixture.await_answers(3);
  CHECK(std::ranges::count(fixture.answers, ErrorCode::kNone, code) == 2);
  CHECK(fixture.disk.batches.size() == 3);
  CHECK(fixture.disk.end == 5);
  CHECK(position(fixture) == 8);
  fixture.stop();
  fixture.start();
  CHECK(position(fixture) == 8);
}

// Long names, and one position over and over: a record with all of it for each.
TEST_CASE("what would be a batch of gigabytes isn't made to be refused") {
  Fixture fixture;
  fixture.start();
  REQUIRE(position(fixture) == -1);
  const std::string long_name(30'000, 'g');
  OffsetCommit request{.group = long_name, .topics = {{"t", {}, {}}}};
  for (int i = 0; i < 200'000; ++i) request.topics[0].partitions.push_back({0, i, -1, {}});
  fixture.send_together({commit("g", "t", 0, 5), request, commit("g", "t", 0, 6)});
  fixture.await_answers(3);
  CHECK(std::ranges::count(fixture.answers, ErrorCode::kNone, code) == 2);
  CHECK(std::ranges::count(fixture.answers, ErrorCode::kInvalidCommitOffsetSize, code) == 1);
  CHECK(fixture.disk.end == 2);
  CHECK(position(fixture) == 6);
}

TEST_CASE("commits that wait for each other keep their place before what comes after them") {
  Fixture fixture;
  fixture.start();
  REQUIRE(position(fixture) == -1);
  OffsetDelete removal{"g", {{"t", {0}}}};
  fixture.send_together({commit("g", "t", 0, 5), removal, commit("g", "t", 0, 6), fetch("g", "t", 0)});
  fixture.await_answers(4);
  CHECK(fixture.disk.batches.size() == 3);
  CHECK(position(fixture) == 6);
}

TEST_CASE("commits that come together are answered by a coordinator that stops at once") {
  Fixture fixture;
  fixture.start();
  REQUIRE(position(fixture) == -1);
  fixture.send_together({commit("g", "t", 0, 5), commit("g", "t", 1, 5)}, true);
  fixture.await_answers(2);
  for (const GroupResponse& answer : fixture.answers) CHECK(code(answer) == ErrorCode::kNotCoordinator);
  CHECK(fixture.disk.batches.empty());
}

TEST_CASE("while the log is read clients are told to wait, but members keep calm") {
  Fixture fixture;
  fixture.disk.hold_reading = true;
  fixture.start();
  CHECK(code(fixture.call<OffsetCommitResult>(commit("g", "t", 0, 5))) ==
        ErrorCode::kCoordinatorLoadInProgress);
  CHECK(fixture.call<HeartbeatResult>(Heartbeat{"g", "m", {}, 1}).error == ErrorCode::kNone);
  fixture.on_shard([&] {
    fixture.disk.hold_reading = false;
    fixture.disk.changed.notify_all();
    return 0;
  });
  while (fixture.call<ListGroupsResult>(ListGroups{}).error == ErrorCode::kCoordinatorLoadInProgress) {
  }
  CHECK(code(fixture.call<OffsetCommitResult>(commit("g", "t", 0, 5))) == ErrorCode::kNone);
}

TEST_CASE("a log that refuses is the request's matter, one that is lost ends the coordinator") {
  Fixture fixture;
  fixture.start();
  REQUIRE(position(fixture) == -1);
  fixture.on_shard([&] { return fixture.disk.append_error = ErrorCode::kNotEnoughReplicas, 0; });
  CHECK(code(fixture.call<OffsetCommitResult>(commit("g", "t", 0, 5))) ==
        ErrorCode::kCoordinatorNotAvailable);
  fixture.on_shard([&] {
    fixture.disk.append_error.reset();
    fixture.disk.broken = fail(ErrorCode::kKafkaStorageError, "no disk");
    return 0;
  });
  CHECK(code(fixture.call<OffsetCommitResult>(commit("g", "t", 0, 5))) == ErrorCode::kNotCoordinator);
  CHECK(code(fixture.call<OffsetCommitResult>(commit("g", "t", 0, 5))) == ErrorCode::kNotCoordinator);
}

TEST_CASE("a log that can't be read leaves its groups without a coordinator") {
  Fixture fixture;
  fixture.disk.batches.push_back(Buffer(100));
  fixture.start();
  while (fixture.call<ListGroupsResult>(ListGroups{}).error == ErrorCode::kCoordinatorLoadInProgress) {
  }
  CHECK(fixture.call<ListGroupsResult>(ListGroups{}).error == ErrorCode::kCoordinatorNotAvailable);
}

TEST_CASE("stopping answers who waits") {
  Fixture fixture;
  fixture.start();
  REQUIRE(position(fixture) == -1);
  fixture.on_shard([&] { return fixture.disk.hold = true; });
  fixture.send(commit("g", "t", 0, 5));
  fixture.on_shard([&] {
    fixture.disk.hold = false;
    return 0;
  });
  fixture.send(join("h"));
  fixture.on_shard([&] { return fixture.disk.changed.notify_all(), 0; });
  fixture.stop();
  fixture.await_answers(2);
  CHECK(fixture.answers.size() == 2);
}

TEST_CASE("requests that come at once are appended before the first is waited for") {
  Fixture fixture;
  fixture.start();
  for (const std::string_view group : {"g1", "g2", "g3"})
    CHECK(code(fixture.call<OffsetCommitResult>(commit(group, "t", 0, 5))) == ErrorCode::kNone);
  const auto batches = [&] { return fixture.on_shard([&] { return fixture.disk.batches.size(); }); };
  fixture.on_shard([&] { return fixture.disk.hold = true; });
  const size_t before = batches();
  fixture.send_all({DeleteGroup{"g1"}, DeleteGroup{"none"}, DeleteGroup{"g2"}, DeleteGroup{"g3"}});
  CHECK(batches() == before + 3);
  fixture.on_shard([&] {
    fixture.disk.hold = false;
    fixture.disk.changed.notify_all();
    return 0;
  });
  fixture.await_answers(4);
  std::vector<ErrorCode> errors;
  for (const GroupResponse& answer : fixture.answers)
    errors.push_back(std::get<DeleteGroupResult>(answer).error);
  CHECK(errors ==
        std::vector{ErrorCode::kNone, ErrorCode::kGroupIdNotFound, ErrorCode::kNone, ErrorCode::kNone});
}

}  // namespace
}  // namespace millrace::coordinator
