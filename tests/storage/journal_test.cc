#include "storage/journal.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <numeric>
#include <thread>

#include "tests/storage/journal_fixture.h"

namespace millrace::storage {
namespace {

using test::batch_at;
using test::copy;
using test::group_of;
using test::JournalFixture;
using test::kClicks;
using test::kOrders;

TEST_CASE("What was written is there after a power loss, by partition and in order") {
  JournalFixture f;
  f.begin();
  for (int64_t i = 0; i < 3; ++i) {
    REQUIRE(f.journal->stage(kOrders, i, batch_at(i)));
    REQUIRE(f.journal->stage(kClicks, 10 + i, batch_at(10 + i)));
    f.commit();
  }
  REQUIRE(f.journal->stage(kOrders, 3, batch_at(3)));  // not written
  f.files.crash();
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1, 2});
  CHECK(f.recovered(kClicks) == std::vector<int64_t>{10, 11, 12});
  CHECK(f.directory->damages().empty());
  // A run of its own: what it writes isn't taken for the former one's.
  CHECK(f.journal->next_position().run > (uint64_t{1} << kJournalRunBits));
  CHECK(f.journal->next_position().number == 1);
}

// A batch of kOrders as a client could send it: its value has a group of the journal in it, which begins at a
// block if the batch is the first of its own group.
Buffer batch_with_forged(int64_t base_offset, Bytes forged) {
  const auto with_padding = [&](size_t padding) {
    std::string value(padding, 'p');
    value.append(as_text(forged));
    protocol::BatchBuilder builder{protocol::BatchOptions()};
    builder.append(std::nullopt, as_bytes(value), {}, test::kNow);
    auto batch = builder.build();
    REQUIRE(batch);
    protocol::set_base_offset(*batch, base_offset);
    return std::move(*batch);
  };
  const auto place_of = [&](const Buffer& batch) {
    const Buffer group = group_of({1, 1}, batch);
    return static_cast<size_t>(std::ranges::search(group, forged).begin() - group.begin());
  };
  // Where the length of the value takes as many bytes as it will.
  const size_t place = place_of(with_padding(kJournalBlockBytes));
  return with_padding(2 * kJournalBlockBytes - place % kJournalBlockBytes);
}

// One of kClicks, that nobody has appended.
Buffer forged_group(const JournalPosition& position) {
  JournalGroupBuilder builder(0);
  builder.add(kClicks, 0, batch_at(0));
  return copy(builder.seal({position, 1}));
}

TEST_CASE("What a client has put into a record isn't taken for a group, whatever becomes of the real ones") {
  JournalFixture f;
  f.begin();
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  const auto stage_forging = [&](int64_t offset) {
    // Clients can guess a run and a number.
    const JournalPosition next = f.journal->next_position();
    const Buffer batch = batch_with_forged(offset, forged_group({next.run, next.number + 1}));
    REQUIRE(f.journal->stage(kOrders, offset, batch));
  };
  const auto commit_and_find = [&] { return static_cast<size_t>(f.commit().position); };
  REQUIRE(f.journal->stage(kOrders, 0, batch_at(0)));
  const size_t first = commit_and_find();
  stage_forging(1);
  const size_t forging = commit_and_find();
  SECTION("a group in the middle is damaged") {
    REQUIRE(f.journal->stage(kOrders, 2, batch_at(2)));
    f.commit();
    content[forging + 100] ^= std::byte{1};
    f.open(true);
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 2});
    CHECK(f.directory->damages().size() == 1);
  }
  SECTION("the last group is torn") {
    std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(forging), 512, std::byte{0});
    f.open(true);
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{0});
    CHECK(f.directory->damages().empty());
  }
  SECTION("the first group is damaged, too") {
    content[first + 20] ^= std::byte{1};
    content[forging + 20] ^= std::byte{1};
    f.open(true);
    CHECK(f.recovered(kOrders).empty());
  }
  CHECK(f.recovered(kClicks).empty());
}

TEST_CASE("What a client has put into a record isn't taken for a group of the file's next use") {
  JournalFixture f;
  f.begin();
  // A client can guess what the next start's run will be.
  const uint64_t next_run = (uint64_t{2} << kJournalRunBits);
  REQUIRE(f.journal->stage(kOrders, 0, batch_with_forged(0, forged_group({next_run, 2}))));
  f.commit();
  f.open(true);
  f.directory->keep_for({});
  REQUIRE(f.journal->next_position().run == next_run);
  f.add_file();
  const Buffer batch = batch_at(1);
  REQUIRE(f.journal->stage(kOrders, 1, batch));
  f.commit();
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{1});
  CHECK(f.recovered(kClicks).empty());
}

TEST_CASE("Without a file nothing is staged, and full files go round") {
  JournalFixture f;
  f.open(false);
  const Buffer batch = batch_at(0, 1, 1 << 20);
  CHECK_FALSE(f.journal->stage(kOrders, 0, batch));
  CHECK(f.journal->wants_file());
  f.add_file();
  CHECK_FALSE(f.journal->wants_file());
  int64_t staged = 0;
  while (f.journal->stage(kOrders, staged, batch)) {
    f.commit();
    ++staged;
  }
  CHECK(staged == 7);  // of 8 MiB: each has a header
  CHECK_FALSE(f.journal->has_full());
  f.add_file();
  REQUIRE(f.journal->stage(kOrders, staged, batch));
  f.commit();
  auto full = f.journal->take_full();
  REQUIRE(full.size() == 1);
  CHECK(f.journal->wants_file());
  CHECK(f.journal->reuse(std::move(full[0])) == nullptr);
  CHECK_FALSE(f.journal->wants_file());
  CHECK(f.files.paths().size() == 2);
}

TEST_CASE("A file that a checkpoint gives back while another one is made isn't lost") {
  JournalFixture f;
  f.begin();
  const Buffer batch = batch_at(0, 1, 3 << 19);
  // Returns where they went; five fill a file.
  const auto commit = [&](int batches) {
    std::string path;
    for (int i = 0; i < batches; ++i) {
      REQUIRE(f.journal->stage(kOrders, 0, batch));
      path = f.commit().file->path();
    }
    return path;
  };
  const std::string first = commit(5);
  f.add_file();
  const std::string second = commit(1);
  REQUIRE(second != first);
  REQUIRE(f.journal->wants_file());
  auto made = f.directory->take_file(f.journal->run());
  REQUIRE(made);
  auto full = f.journal->take_full();
  REQUIRE(full.size() == 1);
  REQUIRE(f.journal->reuse(std::move(full[0])) == nullptr);
  auto surplus = f.journal->add_file(std::move(*made));
  CHECK(surplus != nullptr);
  CHECK(commit(4) == second);
  CHECK(commit(1) == first);
  CHECK(f.journal->wants_file());
  // One is full, one is in use: two more make four.
  REQUIRE(f.journal->add_file(std::move(surplus)) == nullptr);
  CHECK(commit(5) != first);
  CHECK(f.journal->wants_file());
}

TEST_CASE("What a group has no room for goes to the next one of the same round") {
  JournalFixture f;
  f.group_bytes = 2 * kJournalBlockBytes;
  f.begin();
  // Two fill a group.
  int64_t staged = 0;
  while (f.journal->stage(kOrders, staged, batch_at(staged, 1, 3000))) ++staged;
  CHECK(staged == 2 * Journal::kMaxGroups);
  CHECK(f.journal->next_position().number == Journal::kMaxGroups);
  const auto groups = f.journal->take();
  REQUIRE(groups.size() == Journal::kMaxGroups);
  // While they are written, as many are staged.
  int64_t staged_meanwhile = staged;
  while (f.journal->stage(kOrders, staged_meanwhile, batch_at(staged_meanwhile, 1, 3000))) ++staged_meanwhile;
  CHECK(staged_meanwhile == 2 * staged);
  for (const Journal::Write& group : groups) REQUIRE(Journal::write(group));
  f.journal->done();
  for (const Journal::Write& group : f.journal->take()) REQUIRE(Journal::write(group));
  f.journal->done();
  f.files.crash();
  f.open(true);
  std::vector<int64_t> all(static_cast<size_t>(staged_meanwhile));
  std::iota(all.begin(), all.end(), 0);
  CHECK(f.recovered(kOrders) == all);
  CHECK(f.directory->damages().empty());
}

TEST_CASE("A batch that is larger than a group isn't staged, and others still are") {
  JournalFixture f;
  f.begin();
  REQUIRE(f.journal->stage(kOrders, 0, batch_at(0)));
  CHECK_FALSE(f.journal->stage(kOrders, 1, batch_at(1, 1, kJournalMaxGroupBytes)));
  REQUIRE(f.journal->stage(kClicks, 0, batch_at(0)));
  for (const Journal::Write& group : f.journal->take()) REQUIRE(Journal::write(group));
  f.journal->done();
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0});
  CHECK(f.recovered(kClicks) == std::vector<int64_t>{0});
}

TEST_CASE("A file is full for a checkpoint once its last group is done") {
  JournalFixture f;
  f.file_bytes = 8 * kJournalBlockBytes;
  f.group_bytes = 2 * kJournalBlockBytes;
  f.begin();
  int64_t next = 0;
  const auto stage = [&](int batches) {
    for (int i = 0; i < batches; ++i, ++next)
      REQUIRE(f.journal->stage(kOrders, next, batch_at(next, 1, 3000)));
  };
  stage(2);
  const auto first = f.journal->take();
  REQUIRE(first.size() == 1);
  f.add_file();
  // Two more groups fill the file, and the one behind them begins the next, all while the first is written.
  stage(7);
  CHECK(f.journal->wants_file());
  f.journal->done();
  CHECK_FALSE(f.journal->has_full());
  const auto second = f.journal->take();
  REQUIRE(second.size() == 4);
  CHECK(second[1].file == first[0].file);
  CHECK(second[2].file != first[0].file);
  CHECK_FALSE(f.journal->has_full());
  f.journal->done();
  CHECK(f.journal->take_full() == std::vector{first[0].file});
}

// For ThreadSanitizer: logs are opened in the disk pool while the shard writes.
TEST_CASE("The next position can be asked for while groups are written") {
  JournalFixture f;
  f.begin();
  std::atomic<bool> went_back = false;
  std::jthread opening([&](const std::stop_token& ended) {
    for (uint64_t last = 0; !ended.stop_requested();) {
      const uint64_t now = f.journal->next_position().number;
      if (now < last) went_back = true;
      last = now;
    }
  });
  for (int64_t i = 0; i < 100; ++i) {
    CHECK(f.journal->stage(kOrders, i, batch_at(i)));
    f.commit();
  }
  opening.request_stop();
  opening.join();
  CHECK_FALSE(went_back);
  CHECK(f.journal->next_position().number == 101);
}

TEST_CASE("What is forgotten may be in a group before the next position, and nowhere else") {
  JournalFixture f;
  f.group_bytes = 2 * kJournalBlockBytes;
  f.begin();
  for (int64_t i = 0; i < 3; ++i) REQUIRE(f.journal->stage(kOrders, i, batch_at(i, 1, 3000)));
  REQUIRE(f.journal->stage(kClicks, 0, batch_at(0)));
  const JournalPosition floor = f.journal->next_position();
  f.journal->forget(kOrders);
  for (const Journal::Write& group : f.journal->take()) REQUIRE(Journal::write(group));
  f.journal->done();
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1});
  for (const JournaledBatch& batch : f.directory->recovered(kOrders)) CHECK(batch.position < floor);
  CHECK(f.recovered(kClicks) == std::vector<int64_t>{0});
}

}  // namespace
}  // namespace millrace::storage
