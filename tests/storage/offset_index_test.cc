#include "storage/offset_index.h"

#include <rocksdb/env.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <future>

#include "tests/storage/log_fixture.h"
#include "tests/storage/temporary_directory.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::kNow;
using test::LogFixture;
using test::TemporaryDirectory;

const TopicIdPartition kPartition{Uuid::from_random(1, 2), 3};

std::vector<IndexEntry> entries_from(int64_t first_offset, int count) {
  std::vector<IndexEntry> entries;
  for (int64_t i = 0; i < count; ++i)
    entries.push_back({first_offset + 10 * i, 100 * (first_offset / 10 + i), first_offset + 10 * i - 1});
  return entries;
}

TEST_CASE("Lookups find the entry at or below, across blocks and within their segment only") {
  auto index = std::move(*OffsetIndex::open_in_memory());
  const SegmentKey key{kPartition, 0};
  REQUIRE(index->add_block(key, entries_from(0, 5)));
  REQUIRE(index->add_block(key, entries_from(50, 5)));
  REQUIRE(index->seal(key, entries_from(100, 2), {0, 1200, 120, 130, 110, 5, true}));
  REQUIRE(index->add_block({kPartition, 120}, entries_from(120, 1)));
  for (int64_t offset = 0; offset < 130; ++offset) {
    const auto found = index->floor_offset(key, offset);
    REQUIRE(found);
    REQUIRE((*found)->offset == std::min<int64_t>(offset / 10 * 10, 110));
    // An entry's timestamp is its offset - 1, so the last one below a target has that offset or less.
    const auto by_time = index->floor_timestamp(key, offset);
    REQUIRE(by_time);
    REQUIRE((*by_time)->offset == std::min<int64_t>(offset / 10 * 10, 110));
  }
  CHECK_FALSE(index->floor_timestamp(key, -1)->has_value());
  CHECK_FALSE(index->floor_offset({kPartition, 60}, 1000)->has_value());
  CHECK_FALSE(index->floor_offset({{kPartition.topic_id, 4}, 0}, 1000)->has_value());
  CHECK(index->entries(key)->size() == 12);
}

// Nothing is written to disk in the background while it lives, and isn't told to go on.
class StandingDisk {
 public:
  StandingDisk() {
    auto* const env = rocksdb::Env::Default();
    for (int i = env->GetBackgroundThreads(rocksdb::Env::HIGH); i > 0; --i)
      env->Schedule(&StandingDisk::wait, new std::shared_future<void>(goes_on_), rocksdb::Env::HIGH);
  }
  ~StandingDisk() { go_on(); }
  void go_on() {
    if (!std::exchange(is_going_, true)) go_on_.set_value();
  }

 private:
  static void wait(void* goes_on) {
    const std::unique_ptr<std::shared_future<void>> future(static_cast<std::shared_future<void>*>(goes_on));
    future->wait();
  }

  std::promise<void> go_on_;
  std::shared_future<void> goes_on_ = go_on_.get_future().share();
  bool is_going_ = false;
};

TEST_CASE("Who must not wait isn't kept by a disk that stands still, and who may gets everything stored") {
  auto index = std::move(*OffsetIndex::open_in_memory());
  constexpr int64_t kBlocks = 5000;  // more than what is kept in memory
  constexpr int kEntries = 256;
  const SegmentKey key{kPartition, 0};
  const SegmentSummary summary{0, 100, 10, 9, 9, 5, true};
  const auto add_all = [&](const SegmentKey& to) {
    Result<> added;
    for (int64_t i = 0; i < kBlocks && added; ++i)
      added = index->add_block(to, entries_from(i * 10 * kEntries, kEntries));
    return added;
  };
  StandingDisk disk;
  auto shard = std::async(std::launch::async, [&] {
    OffsetIndex::never_wait_on_this_thread();
    const auto added = add_all(key);
    REQUIRE_FALSE(added);
    CHECK(added.error().code == ErrorCode::kOperationNotAttempted);
    CHECK_FALSE(index->seal(key, {}, summary));
    CHECK_FALSE(index->add_producers(kPartition, 10, as_bytes(std::string("snapshot"))));
  });
  const bool kept = shard.wait_for(std::chrono::seconds(20)) != std::future_status::ready;
  CHECK_FALSE(kept);
  const SegmentKey other{kPartition, 1};
  auto pool = std::async(std::launch::async, [&] {
    const auto removed = index->remove_summary(key);
    return removed ? add_all(other) : removed;
  });
  CHECK(pool.wait_for(std::chrono::milliseconds(100)) == std::future_status::timeout);
  disk.go_on();
  shard.get();
  CHECK(pool.get());
  CHECK(index->entries(other)->size() == kBlocks * kEntries);
  CHECK(index->summaries(kPartition)->empty());
}

TEST_CASE("Equal timestamps at block bounds don't hide the first batch that has them") {
  auto index = std::move(*OffsetIndex::open_in_memory());
  const SegmentKey key{kPartition, 0};
  const std::vector<IndexEntry> first = {{0, 0, -1}, {1, 100, 5}, {2, 200, 7}};
  const std::vector<IndexEntry> second = {{3, 300, 7}, {4, 400, 7}, {5, 500, 9}};
  REQUIRE(index->add_block(key, first));
  REQUIRE(index->add_block(key, second));
  CHECK((*index->floor_timestamp(key, 7))->offset == 1);
  CHECK((*index->floor_timestamp(key, 8))->offset == 4);
  CHECK((*index->floor_timestamp(key, 5))->offset == 0);
  CHECK((*index->floor_timestamp(key, 100))->offset == 5);
}

TEST_CASE("Blocks are removed from an offset on") {
  auto index = std::move(*OffsetIndex::open_in_memory());
  const SegmentKey key{kPartition, 0};
  REQUIRE(index->add_block(key, entries_from(0, 3)));
  REQUIRE(index->add_block(key, entries_from(100, 3)));
  REQUIRE(index->add_block({kPartition, 500}, entries_from(500, 3)));
  REQUIRE(index->remove_entries_from(key, 100));
  const auto kept = *index->entries(key);
  CHECK(kept.size() == 3);
  // Of a block that goes on beyond the offset its begin stays.
  REQUIRE(index->remove_entries_from(key, kept[0].offset + 1));
  CHECK(*index->entries(key) == std::vector{kept[0]});
  CHECK(index->floor_offset(key, kept[2].offset)->value() == kept[0]);
  REQUIRE(index->remove_entries_from(key, kept[0].offset));
  CHECK(index->entries(key)->empty());
  CHECK(index->entries({kPartition, 500})->size() == 3);
}

TEST_CASE("However many blocks there are, removal takes those that it names, and no others") {
  auto index = std::move(*OffsetIndex::open_in_memory());
  const int64_t blocks = GENERATE(0, 1, 99, 100, 101, 300);
  CAPTURE(blocks);
  const SegmentKey before{kPartition, 0};
  const SegmentKey key{kPartition, 1'000};
  const SegmentKey behind{kPartition, 1'000'000};
  for (const SegmentKey& other : {before, behind}) REQUIRE(index->add_block(other, entries_from(7, 3)));
  for (int64_t i = 0; i < blocks; ++i) REQUIRE(index->add_block(key, entries_from(1'000 + i * 10, 1)));
  const auto kept = [&] { return static_cast<int64_t>(index->entries(key)->size()); };
  REQUIRE(index->remove_entries_from(key, 1'000 + blocks * 10));
  CHECK(kept() == blocks);
  REQUIRE(index->remove_entries_from(key, 1'010));
  CHECK(kept() == std::min<int64_t>(blocks, 1));
  for (int64_t i = 0; i < blocks; ++i) REQUIRE(index->add_block(key, entries_from(1'000 + i * 10, 1)));
  REQUIRE(index->remove_segment(key));
  CHECK(kept() == 0);
  CHECK_FALSE(index->floor_timestamp(key, INT64_MAX)->has_value());
  for (const SegmentKey& other : {before, behind}) CHECK(index->entries(other)->size() == 3);
}

TEST_CASE("Producer snapshots of a partition come back, the latest first") {
  auto index = std::move(*OffsetIndex::open_in_memory());
  const TopicIdPartition other{kPartition.topic_id, 4};
  using Found = std::vector<std::pair<int64_t, std::string>>;
  const auto found = [&] {
    Found all;
    const auto snapshots = index->producers(kPartition);
    for (const auto& [offset, bytes] : *snapshots) all.emplace_back(offset, as_text(bytes));
    return all;
  };
  REQUIRE(index->add_producers(other, 7, as_bytes("x")));
  for (int64_t offset : {10, 300, 20'000}) {
    REQUIRE(index->add_producers(kPartition, offset, as_bytes(std::to_string(offset))));
  }
  CHECK(found() == Found{{20'000, "20000"}, {300, "300"}, {10, "10"}});
  REQUIRE(index->add_producers(kPartition, 20'000, as_bytes("again"), std::vector<int64_t>{10}));
  CHECK(found() == Found{{20'000, "again"}, {300, "300"}});
  REQUIRE(index->remove_producers(kPartition));
  CHECK(index->producers(kPartition)->empty());
  CHECK(index->producers(other)->size() == 1);
}

TEST_CASE("Summaries come back in order, and removal removes what it names") {
  auto index = std::move(*OffsetIndex::open_in_memory());
  const TopicIdPartition other{kPartition.topic_id, 4};
  const SegmentSummary summary{256, 10, 260, 5, 257, 4, false};
  REQUIRE(index->seal({kPartition, 256}, entries_from(256, 1), summary));
  REQUIRE(index->seal({kPartition, 0}, entries_from(0, 1), {0, 10, 256, 5, 1, 4, true}));
  REQUIRE(index->seal({other, 0}, entries_from(0, 1), {0, 10, 256, 5, 1, 4, true}));
  const auto summaries = index->summaries(kPartition);
  REQUIRE(summaries->size() == 2);
  CHECK(summaries->at(1) == summary);
  REQUIRE(index->remove_segment({kPartition, 256}));
  CHECK(index->entries({kPartition, 256})->empty());
  REQUIRE(index->remove_partition(kPartition));
  CHECK(index->summaries(kPartition)->empty());
  CHECK(index->summaries(other)->size() == 1);
}

TEST_CASE("On disk: closed and opened it is the same, damaged it begins anew and says so") {
  TemporaryDirectory directory;
  const std::string path = directory.path + "/index";
  const SegmentKey key{kPartition, 0};
  {
    auto index = OffsetIndex::open(path);
    REQUIRE(index);
    REQUIRE((*index)->seal(key, entries_from(0, 200), {0, 10, 2000, 5, 1, 4, true}));
    // A second process is told, and does no harm.
    CHECK_FALSE(OffsetIndex::open(path));
    REQUIRE((*index)->flush());
    auto reader = OffsetIndex::open_read_only(path);
    REQUIRE(reader);
    CHECK((*reader)->entries(key)->size() == 200);
  }
  {
    auto index = OffsetIndex::open(path);
    REQUIRE(index);
    CHECK((*index)->rebuilt_because().empty());
    CHECK((*index)->entries(key)->size() == 200);
  }
  SECTION("a table file with other bytes") {
    for (const auto& file : std::filesystem::directory_iterator(path)) {
      if (file.path().extension() != ".sst") continue;
      std::fstream table(file.path(), std::ios::in | std::ios::out | std::ios::binary);
      table.seekp(20);
      table << "damage";
    }
  }
  SECTION("a table file gone") {
    for (const auto& file : std::filesystem::directory_iterator(path)) {
      if (file.path().extension() == ".sst") std::filesystem::remove(file.path());
    }
  }
  SECTION("the manifest's name gone wrong") { std::ofstream(path + "/CURRENT") << "nonsense"; }
  SECTION("found damaged by a read before") { std::ofstream(path + "/DAMAGED") << "bad block\n"; }
  auto index = OffsetIndex::open(path);
  REQUIRE(index);
  CHECK_FALSE((*index)->rebuilt_because().empty());
  CHECK((*index)->summaries(kPartition)->empty());
  REQUIRE((*index)->seal(key, entries_from(0, 2), {0, 10, 20, 5, 1, 4, true}));
}

TEST_CASE("An index that can't be opened for want of descriptors stays as it is") {
  TemporaryDirectory directory;
  const std::string path = directory.path + "/index";
  const SegmentKey key{kPartition, 0};
  {
    auto index = OffsetIndex::open(path);
    REQUIRE(index);
    REQUIRE((*index)->seal(key, entries_from(0, 200), {0, 10, 2000, 5, 1, 4, true}));
  }
  rlimit usual{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &usual) == 0);
  const int lowest = ::dup(0);
  ::close(lowest);
  // Whatever it is that can't be opened.
  int failures = 0;
  for (rlim_t limit = static_cast<rlim_t>(lowest) + 1;; ++limit) {
    const rlimit few{limit, usual.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    auto index = OffsetIndex::open(path);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &usual) == 0);
    if (index) {
      CHECK((*index)->rebuilt_because().empty());
      CHECK((*index)->entries(key)->size() == 200);
      break;
    }
    ++failures;
    CHECK(index.error().message.find(path) != std::string::npos);
  }
  CHECK(failures > 1);
}

TEST_CASE("A rebuilt index is the one that was built") {
  LogFixture f;
  f.options.config.segment_bytes = 100'000;
  f.options.config.index_interval_bytes = 64;
  f.open();
  for (int i = 0; i < 1500; ++i) f.append(batch_of(2, kNow + i * 7919 % 1000));
  REQUIRE(f.log->close(kNow));
  const auto summaries = *f.index->summaries(f.options.id);
  REQUIRE(summaries.size() == 2);
  std::vector<std::vector<IndexEntry>> entries;
  for (const auto& summary : summaries)
    entries.push_back(*f.index->entries({f.options.id, summary.base_offset}));
  REQUIRE(entries[0].size() > 2 * Segment::kBlockEntries);

  f.log.reset();
  f.index = std::move(*OffsetIndex::open_in_memory());
  f.open(true);
  CHECK(f.report.segments_scanned == 2);
  REQUIRE(f.log->close(kNow));
  CHECK(*f.index->summaries(f.options.id) == summaries);
  for (size_t i = 0; i < summaries.size(); ++i) {
    CHECK(*f.index->entries({f.options.id, summaries[i].base_offset}) == entries[i]);
  }
}

}  // namespace
}  // namespace millrace::storage
