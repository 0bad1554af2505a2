#include "storage/journal_format.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "storage/journal_file.h"
#include "tests/storage/journal_bytes.h"

namespace millrace::storage {
namespace {

using test::batch_at;
using test::concatenated;
using test::copy;
using test::file_of_run;
using test::file_with;
using test::group_of;
using test::in_version_1;
using test::kClicks;
using test::kOrders;
using test::kSalt;

std::vector<uint64_t> numbers_of(const WholeJournalFile& content) {
  std::vector<uint64_t> numbers;
  for (const JournalGroup& group : content.groups) numbers.push_back(group.position.number);
  return numbers;
}

TEST_CASE("A group comes back as it was sealed, without what was removed") {
  JournalGroupBuilder builder(kSalt);
  CHECK(builder.empty());
  const Buffer first = batch_at(7, 2);
  const Buffer second = batch_at(9, 3, 5000);
  builder.add(kOrders, 7, first);
  builder.add(kClicks, 100, batch_at(100));
  CHECK(builder.size_with(0) == kJournalBlockBytes);
  builder.add(kOrders, 9, second);
  builder.remove(kClicks);
  const Bytes sealed = builder.seal({{5, 6}, 4});
  CHECK(sealed.size() % kJournalBlockBytes == 0);
  CHECK(reinterpret_cast<uintptr_t>(sealed.data()) % kJournalBlockBytes == 0);
  const auto group = parse_journal_group(sealed, file_of_run(5));
  REQUIRE(group);
  CHECK(group->position == JournalPosition{5, 6});
  CHECK(group->needed_from == 4);
  CHECK(group->size_bytes == sealed.size());
  REQUIRE(group->entries.size() == 2);
  CHECK(group->entries[0].partition == kOrders);
  CHECK(group->entries[0].log_end_offset == 7);
  CHECK(copy(group->entries[0].batch) == first);
  CHECK(copy(group->entries[1].batch) == second);
  builder.clear();
  CHECK(builder.empty());
}

TEST_CASE("A group with any bit flipped, but for its padding, is none") {
  const Buffer batch = batch_at(7);
  const Buffer group = group_of({1, 1}, batch);
  constexpr size_t kHeaders = 48 + 40;
  const size_t used = kHeaders + batch.size();
  for (size_t i = 0; i < used; ++i) {
    // The entry header's last four bytes say nothing yet.
    if (i >= kHeaders - 4 && i < kHeaders) continue;
    Buffer damaged = group;
    damaged[i] ^= std::byte{1};
    INFO("byte " << i);
    CHECK_FALSE(parse_journal_group(damaged, file_of_run(1)));
  }
  for (size_t size = 0; size < used; ++size)
    CHECK_FALSE(parse_journal_group(Bytes(group).first(size), file_of_run(1)));
}

TEST_CASE("A group of another run or with another salt is none of a file's") {
  const Buffer group = group_of({1, 1}, batch_at(7));
  CHECK(parse_journal_group(group, file_of_run(1)));
  CHECK_FALSE(parse_journal_group(group, file_of_run(2)));
  CHECK_FALSE(parse_journal_group(group, {.run = {1, kSalt + 1}}));
  CHECK_FALSE(peek_journal_header(group, {.run = {1, kSalt + 1}}));
  CHECK_FALSE(parse_journal_group(group, {.version = 1, .run = {}}));
  // Nor is one whose entries are of another: a torn group's rest may be what stood there before.
  JournalGroupBuilder other(kSalt + 1);
  other.add(kOrders, 7, batch_at(7));
  Buffer mixed = copy(other.seal({{1, 1}, 1}));
  std::copy_n(group.begin(), 48, mixed.begin());
  CHECK(peek_journal_header(mixed, file_of_run(1)));
  CHECK_FALSE(parse_journal_group(mixed, file_of_run(1)));
}

TEST_CASE("A file's header is believed from either of its copies") {
  const Buffer file = file_with(7, {group_of({7, 1}, batch_at(7))});
  const auto run_of = [](const Buffer& content) {
    const auto header = find_journal_file_header(content);
    return header ? header->run : JournalRun{};
  };
  const size_t last = file.size() - kJournalBlockBytes;
  for (size_t i = 0; i < 32; ++i) {
    INFO("byte " << i);
    Buffer damaged = file;
    damaged[i] ^= std::byte{1};
    CHECK(run_of(damaged) == JournalRun{7, kSalt});
    CHECK(numbers_of(parse_journal_file(damaged)) == std::vector<uint64_t>{1});
    damaged[last + i] ^= std::byte{1};
    CHECK_FALSE(find_journal_file_header(damaged));
    CHECK(parse_journal_file(damaged).groups.empty());
    damaged[i] ^= std::byte{1};
    CHECK(run_of(damaged) == JournalRun{7, kSalt});
  }
}

TEST_CASE("A file's groups end where an earlier use of it begins") {
  const Buffer batch = batch_at(7);
  SECTION("of an earlier run") {
    const Buffer file = file_with(2, {group_of({2, 1}, batch), group_of({1, 2}, batch)});
    CHECK(numbers_of(parse_journal_file(file)) == std::vector<uint64_t>{1});
  }
  SECTION("of the same run") {
    const Buffer file =
        file_with(1, {group_of({1, 8}, batch), group_of({1, 9}, batch), group_of({1, 3}, batch)});
    CHECK(numbers_of(parse_journal_file(file)) == std::vector<uint64_t>{8, 9});
  }
  SECTION("with a torn group between") {
    Buffer torn = group_of({1, 9}, batch);
    torn[100] ^= std::byte{1};
    const auto content =
        parse_journal_file(file_with(1, {group_of({1, 8}, batch), torn, group_of({1, 3}, batch)}));
    CHECK(numbers_of(content) == std::vector<uint64_t>{8});
    CHECK(content.damaged_at == -1);
  }
  SECTION("with zeros, as it was made") {
    const auto content =
        parse_journal_file(file_with(1, {group_of({1, 1}, batch), Buffer(3 * kJournalBlockBytes)}));
    CHECK(numbers_of(content) == std::vector<uint64_t>{1});
    CHECK(content.damaged_at == -1);
  }
  SECTION("of an earlier run, in version 1") {
    const Buffer file =
        concatenated({in_version_1(group_of({2, 1}, batch)), in_version_1(group_of({1, 2}, batch))});
    CHECK(numbers_of(parse_journal_file(file)) == std::vector<uint64_t>{1});
  }
}

TEST_CASE("Damage in the middle of a file is noticed, and what comes behind it is read") {
  const Buffer batch = batch_at(7);
  Buffer damaged = group_of({1, 2}, batch);
  damaged[100] ^= std::byte{1};
  const auto content =
      parse_journal_file(file_with(1, {group_of({1, 1}, batch), damaged, group_of({1, 3}, batch)}));
  CHECK(numbers_of(content) == std::vector<uint64_t>{1, 3});
  CHECK(content.damaged_at == static_cast<int64_t>(2 * kJournalBlockBytes));
}

}  // namespace
}  // namespace millrace::storage
