#include "storage/journal.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>

#include "protocol/crc32c.h"
#include "storage/journal_directory.h"
#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::FaultFileSystem;

const TopicIdPartition kOrders{Uuid::from_random(1, 2), 3};
const TopicIdPartition kClicks{Uuid::from_random(3, 4), 0};

Buffer batch_at(int64_t base_offset, int records = 1, size_t value_size = 20) {
  Buffer batch = batch_of(std::vector<int64_t>(static_cast<size_t>(records), test::kNow), value_size);
  protocol::set_base_offset(batch, base_offset);
  return batch;
}

Buffer copy(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

constexpr uint64_t kSalt = 0x5eed;

JournalFileHeader file_of_run(uint64_t run) { return {.run = {run, kSalt}}; }

// A group of one batch, as it stands in a file.
Buffer group_of(const JournalPosition& position, Bytes batch) {
  JournalGroupBuilder builder(kSalt);
  builder.add(kOrders, 7, batch);
  return copy(builder.seal({position, 1}));
}

Buffer concatenated(const std::vector<Buffer>& parts) {
  Buffer all;
  for (const Buffer& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// A whole file of a run.
Buffer file_with(uint64_t run, std::vector<Buffer> groups) {
  const Buffer block = copy(journal_file_block({run, kSalt}).bytes);
  groups.insert(groups.begin(), block);
  groups.push_back(block);
  return concatenated(groups);
}

// What a group without a salt was, in a file of version 1.
Buffer in_version_1(Buffer group) {
  constexpr size_t kHeader = 48;
  constexpr size_t kHeaderOfVersion1 = 40;
  constexpr std::string_view kMagic = "MRJ1";
  std::ranges::copy(as_bytes(kMagic), group.begin());
  group.erase(group.begin() + kHeaderOfVersion1, group.begin() + kHeader);
  group.resize(group.size() + kHeader - kHeaderOfVersion1);
  const auto store = [&](size_t at, uint32_t crc) { std::memcpy(group.data() + at, &crc, sizeof(crc)); };
  store(4, protocol::crc32c(Bytes(group).subspan(8, kHeaderOfVersion1 - 8)));
  // Of the entry: its header up to the checksum, and the batch up to where its own CRC begins.
  const uint32_t crc = protocol::crc32c(Bytes(group).subspan(kHeaderOfVersion1, 32));
  store(kHeaderOfVersion1 + 32, protocol::crc32c(Bytes(group).subspan(kHeaderOfVersion1 + 40, 21), crc));
  return group;
}

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

struct JournalFixture {
  FaultFileSystem files;
  std::unique_ptr<JournalDirectory> directory;
  std::unique_ptr<Journal> journal;
  uint64_t last_salt = 0;

  void open(bool read) {
    auto opened = JournalDirectory::open(files, "/data/journal", read);
    REQUIRE(opened);
    directory = std::move(*opened);
    journal = std::make_unique<Journal>(directory->next_run(++last_salt), JournalDirectory::kFileBytes);
  }
  void add_file() {
    auto file = directory->take_file(journal->run());
    REQUIRE(file);
    REQUIRE(journal->add_file(std::move(*file)) == nullptr);
  }
  void commit() {
    const auto group = journal->take();
    REQUIRE(group);
    REQUIRE(Journal::write(*group));
    journal->done();
  }
  // What was read isn't needed any more: the file is taken and written to, and that survives a power loss.
  void check_the_only_file_works() {
    directory->keep_for({});
    add_file();
    REQUIRE(journal->stage(kOrders, 0, batch_at(0)));
    commit();
    files.crash();
    open(true);
    CHECK(recovered(kOrders) == std::vector<int64_t>{0});
    CHECK(files.paths().size() == 1);
  }
  // Opens it to read what is there; the names of the files that were read whole. All are looked at first.
  std::set<std::string> open_and_note_reads() {
    std::map<std::string, int> opened;
    files.judge = [&](test::Operation operation, const std::string& path) {
      if (operation == test::Operation::kOpen) ++opened[path.substr(path.rfind('/') + 1)];
      return test::Verdict::kProceed;
    };
    open(true);
    files.judge = nullptr;
    std::set<std::string> read;
    for (const auto& [name, times] : opened) {
      if (times > 1) read.insert(name);
    }
    return read;
  }
  std::vector<int64_t> recovered(const TopicIdPartition& partition) const {
    std::vector<int64_t> offsets;
    for (const JournaledBatch& batch : directory->recovered(partition)) {
      const auto bytes = read_journaled(batch);
      REQUIRE(bytes);
      offsets.push_back(protocol::read_batch_header(*bytes)->base_offset);
    }
    return offsets;
  }
};

TEST_CASE("What was written is there after a power loss, by partition and in order") {
  JournalFixture f;
  f.open(false);
  f.add_file();
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
  f.open(false);
  f.add_file();
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  const auto stage_forging = [&](int64_t offset) {
    // Clients can guess a run and a number.
    const JournalPosition next = f.journal->next_position();
    const Buffer batch = batch_with_forged(offset, forged_group({next.run, next.number + 1}));
    REQUIRE(f.journal->stage(kOrders, offset, batch));
  };
  const auto commit_and_find = [&] {
    const auto group = f.journal->take();
    REQUIRE(group);
    REQUIRE(Journal::write(*group));
    f.journal->done();
    return static_cast<size_t>(group->position);
  };
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
  f.open(false);
  f.add_file();
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
  f.open(false);
  f.add_file();
  const Buffer batch = batch_at(0, 1, 3 << 19);
  // Returns where they went; five fill a file.
  const auto commit = [&](int batches) {
    std::string path;
    for (int i = 0; i < batches; ++i) {
      REQUIRE(f.journal->stage(kOrders, 0, batch));
      const auto group = f.journal->take();
      REQUIRE(group);
      path = group->file->path();
      f.journal->done();
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

TEST_CASE("A group beyond the limit isn't staged") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  const Buffer batch = batch_at(0, 1, 1 << 19);
  int staged = 0;
  while (f.journal->stage(kOrders, staged, batch)) ++staged;
  CHECK(staged == 3);
  f.commit();
  CHECK(f.journal->stage(kOrders, staged, batch));
}

TEST_CASE("Files stay as they are until nobody needs what was read from them") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  REQUIRE(f.journal->stage(kOrders, 0, batch_at(0)));
  f.commit();
  f.open(true);
  f.directory->keep_for({kOrders});
  f.add_file();
  REQUIRE(f.journal->stage(kClicks, 0, batch_at(0)));
  f.commit();
  CHECK(f.recovered(kOrders).size() == 1);
  // The next start finds both.
  f.open(true);
  CHECK(f.recovered(kOrders).size() == 1);
  CHECK(f.recovered(kClicks).size() == 1);
  f.directory->mark_recovered(kOrders);
  CHECK(f.recovered(kOrders).empty());
  f.directory->keep_for({kClicks});
  CHECK(f.recovered(kClicks).size() == 1);
  f.directory->mark_recovered(kClicks);
  CHECK(f.recovered(kClicks).empty());
  f.add_file();
  REQUIRE(f.directory->take_file(f.journal->run()));
  CHECK(f.files.paths().size() == 2);
}

TEST_CASE("A partition that stays out of service keeps its own files only, at start after start") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  REQUIRE(f.journal->stage(kOrders, 0, batch_at(0)));
  f.commit();
  for (int start = 0; start < 6; ++start) {
    f.open(true);
    CHECK(f.recovered(kOrders).size() == 1);
    f.directory->keep_for({kOrders});
    f.add_file();
    REQUIRE(f.journal->stage(kClicks, 0, batch_at(0)));
    f.commit();
  }
  CHECK(f.files.paths().size() == 2);
}

TEST_CASE("Files that were checkpointed aren't read") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  const Buffer batch = batch_at(0, 1, 3 << 19);
  // Five fill a file; the position of each file's first group is 1, 6 and 11.
  JournalPosition needed_from;
  for (int64_t i = 0; i < 12; ++i) {
    if (i == 8) needed_from = f.journal->next_position();
    if (i == 11) f.journal->set_needed_from(needed_from);
    if (f.journal->wants_file()) f.add_file();
    REQUIRE(f.journal->stage(kOrders, i, batch));
    f.commit();
  }
  f.open(true);
  // Those of the file before are there as well.
  CHECK(f.recovered(kOrders).size() == 7);
}

TEST_CASE("A file that was taken but can't have been written to isn't read") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  const Buffer batch = batch_at(0, 1, 3 << 19);
  const size_t group_bytes = JournalGroupBuilder(kSalt).size_with(batch.size());
  // Five fill a file.
  const auto commit_up_to = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      if (f.journal->wants_file()) f.add_file();
      REQUIRE(f.journal->stage(kOrders, i, batch_at(i, 1, 3 << 19)));
      f.commit();
    }
  };
  const auto damage = [&](const std::string& name, size_t group) {
    f.files.content("/data/journal/" + name)[kJournalBlockBytes + group * group_bytes + 100] ^= std::byte{1};
  };
  const std::string first = "00000001.journal";
  const std::string second = "00000002.journal";
  SECTION("the one before has room for any group") {
    commit_up_to(1);
    f.add_file();
    CHECK(f.open_and_note_reads() == std::set{first});
    CHECK(f.recovered(kOrders).size() == 1);
  }
  SECTION("a group may not have fitted into the one before") {
    commit_up_to(5);
    REQUIRE(f.files.has("/data/journal/" + second));
    CHECK(f.open_and_note_reads() == std::set{first, second});
    CHECK(f.recovered(kOrders).size() == 5);
  }
  SECTION("the one before ends in damage, and its own first group is damaged") {
    commit_up_to(7);
    damage(first, 3);
    damage(first, 4);
    f.files.content("/data/journal/" + second)[kJournalBlockBytes + 20] ^= std::byte{1};
    CHECK(f.open_and_note_reads().contains(second));
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1, 2, 6});
    CHECK(f.directory->damages().size() == 1);
  }
  SECTION("no file of the run begins with a sound group") {
    commit_up_to(2);
    f.files.content("/data/journal/" + first)[kJournalBlockBytes + 20] ^= std::byte{1};
    CHECK(f.open_and_note_reads() == std::set{first, second});
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{1});
  }
  SECTION("numbers are missing") {
    commit_up_to(12);
    f.files.content("/data/journal/" + second)[kJournalBlockBytes + 20] ^= std::byte{1};
    CHECK(f.open_and_note_reads().contains(second));
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11});
    CHECK(f.directory->damages().size() == 1);
  }
}

TEST_CASE("Damage of a file's first group is told, and a torn one isn't") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  for (int64_t i = 0; i < 3; ++i) {
    REQUIRE(f.journal->stage(kOrders, i, batch_at(i)));
    f.commit();
  }
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  SECTION("its header") {
    content[kJournalBlockBytes + 20] ^= std::byte{1};
    f.open(true);
    CHECK(f.directory->damages().size() == 1);
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{1, 2});
  }
  SECTION("its batch") {
    content[kJournalBlockBytes + 100] ^= std::byte{1};
    f.open(true);
    CHECK(f.directory->damages().size() == 1);
  }
  SECTION("torn, of a later start") {
    f.open(true);
    f.directory->keep_for({});
    f.add_file();
    REQUIRE(f.journal->stage(kOrders, 3, batch_at(3)));
    f.commit();
    f.files.content("/data/journal/00000001.journal")[kJournalBlockBytes + 100] ^= std::byte{1};
    f.open(true);
    CHECK(f.directory->damages().empty());
  }
}

TEST_CASE("A torn group in a file that was checkpointed is no damage") {
  const Buffer batch = batch_at(7);
  const auto content_of = [](uint64_t of_run, const std::vector<Buffer>& groups) -> JournalFileContent {
    return parse_journal_file(file_with(of_run, groups));
  };
  const uint64_t run = uint64_t{5} << kJournalRunBits;
  Buffer torn = group_of({run, 9}, batch);
  for (const size_t at : {20, 100}) {
    torn[at] ^= std::byte{1};
    const JournalFileContent reused =
        content_of(run, {torn, group_of({run, 2}, batch), group_of({run, 3}, batch)});
    JournalGroupBuilder builder(kSalt);
    builder.add(kOrders, 7, batch);
    const JournalFileContent later = content_of(run, {copy(builder.seal({{run, 8}, 4}))});
    CHECK_FALSE(begins_damaged(reused, std::vector{reused, later}));
    torn[at] ^= std::byte{1};
  }
  // Of the latest needed groups' file.
  torn = group_of({run, 1}, batch);
  torn[20] ^= std::byte{1};
  const JournalFileContent damaged = content_of(run, {torn, group_of({run, 2}, batch)});
  CHECK(begins_damaged(damaged, std::vector{damaged}));
  // A later start's groups are there.
  const JournalFileContent newer = content_of(run << 1, {group_of({run << 1, 1}, batch)});
  CHECK_FALSE(begins_damaged(damaged, std::vector{damaged, newer}));
}

TEST_CASE("What isn't the journal's is told and left alone, and a file comes back that couldn't be opened") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  REQUIRE(f.journal->stage(kOrders, 0, batch_at(0)));
  f.commit();
  const std::string foreign = "/data/journal/00000007.journal";
  REQUIRE(f.files.open(foreign, OpenMode::kCreate));
  f.files.content(foreign).resize(JournalDirectory::kFileBytes + 1, std::byte{7});
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0});
  REQUIRE(f.directory->damages().size() == 1);
  CHECK(f.directory->damages()[0].find(foreign) == 0);
  f.directory->keep_for({});
  f.files.judge = [](test::Operation operation, const std::string&) {
    return operation == test::Operation::kCreate || operation == test::Operation::kOpen
               ? test::Verdict::kFail
               : test::Verdict::kProceed;
  };
  CHECK_FALSE(f.directory->take_file(f.journal->run()));
  f.files.judge = nullptr;
  const auto taken = f.directory->take_file(f.journal->run());
  REQUIRE(taken);
  CHECK((*taken)->path() == "/data/journal/00000001.journal");
}

TEST_CASE("A file that was cut off is told, although its header is sound") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  for (int64_t i = 0; i < 3; ++i) {
    REQUIRE(f.journal->stage(kOrders, i, batch_at(i)));
    f.commit();
  }
  const std::string path = "/data/journal/00000001.journal";
  f.files.content(path).resize(3 * kJournalBlockBytes);
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0, 1});
  REQUIRE(f.directory->damages().size() == 1);
  CHECK(f.directory->damages()[0].find(path + " has 12288 bytes") == 0);
  // Nobody needs it after a clean stop.
  f.open(false);
  CHECK(f.directory->damages().empty());
}

TEST_CASE("Groups that were in a file that is gone are told, if they were needed") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  const auto commit_up_to = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      if (f.journal->wants_file()) f.add_file();
      REQUIRE(f.journal->stage(kOrders, i, batch_at(i, 1, 3 << 19)));
      f.commit();
    }
  };
  // Five fill a file.
  commit_up_to(12);
  const auto path = [](int number) { return "/data/journal/0000000" + std::to_string(number) + ".journal"; };
  SECTION("none is gone") {
    f.open(true);
    CHECK(f.directory->damages().empty());
  }
  SECTION("the first file") {
    REQUIRE(f.files.remove(path(1)));
    f.open(true);
    REQUIRE(f.directory->gaps().size() == 1);
    CHECK(f.directory->gaps()[0].find("Groups 1 to 5 of run") == 0);
    CHECK(f.directory->damages() == f.directory->gaps());
  }
  SECTION("one in the middle, with a directory in its place") {
    REQUIRE(f.files.remove(path(2)));
    REQUIRE(f.files.create_directory(path(2)));
    f.open(true);
    REQUIRE(f.directory->gaps().size() == 1);
    CHECK(f.directory->gaps()[0].find("Groups 6 to 10 of run") == 0);
    REQUIRE(f.directory->damages().size() == 2);
    CHECK(f.directory->damages()[0].find("acknowledged records may be missing") != std::string::npos);
  }
  SECTION("after a checkpoint nobody needs them") {
    f.journal->set_needed_from(f.journal->next_position());
    REQUIRE(f.journal->stage(kOrders, 12, batch_at(12)));
    f.commit();
    REQUIRE(f.files.remove(path(1)));
    f.open(true);
    CHECK(f.directory->damages().empty());
  }
}

TEST_CASE("A file whose header is damaged is read by the copy; without that it isn't believed") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  REQUIRE(f.journal->stage(kOrders, 0, batch_at(0)));
  f.commit();
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  content[20] ^= std::byte{1};
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0});
  REQUIRE(f.directory->damages().size() == 1);
  content[JournalDirectory::kFileBytes - static_cast<int64_t>(kJournalBlockBytes) + 20] ^= std::byte{1};
  f.open(true);
  CHECK(f.recovered(kOrders).empty());
  REQUIRE(f.directory->damages().size() == 1);
  // Not used, but kept for a person.
  f.directory->keep_for({});
  f.add_file();
  CHECK(f.files.paths().size() == 2);
  content[20] ^= std::byte{1};
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{0});
  // Nobody needs it after a clean stop: it is written to again.
  content[20] ^= std::byte{1};
  f.open(false);
  REQUIRE(f.directory->take_file(f.journal->run()));
  REQUIRE(f.directory->take_file(f.journal->run()));
  CHECK(f.files.paths().size() == 2);
  f.open(true);
  CHECK(f.directory->damages().empty());
  CHECK(f.recovered(kOrders).empty());
}

TEST_CASE("A file of version 1 is read once more, and then becomes one of version 2") {
  JournalFixture f;
  f.open(false);
  REQUIRE(f.files.open("/data/journal/00000001.journal", OpenMode::kCreate));
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  const uint64_t run = uint64_t{9} << kJournalRunBits;
  content = concatenated(
      {in_version_1(group_of({run, 1}, batch_at(7))), in_version_1(group_of({run, 2}, batch_at(8)))});
  content.resize(JournalDirectory::kFileBytes);
  f.files.on_disk("/data/journal/00000001.journal") = content;
  f.open(true);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{7, 8});
  CHECK(f.directory->damages().empty());
  CHECK(f.journal->run().number > run);
  f.directory->keep_for({});
  f.add_file();
  REQUIRE(f.journal->stage(kOrders, 9, batch_at(9)));
  f.commit();
  f.files.crash();
  f.open(true);
  CHECK(f.files.paths().size() == 1);
  CHECK(f.recovered(kOrders) == std::vector<int64_t>{9});
}

// Of the size that files had before, with nine groups.
Buffer older_file() {
  const uint64_t run = uint64_t{9} << kJournalRunBits;
  std::vector<Buffer> groups;
  // The last one lies behind today's size.
  for (uint64_t i = 1; i <= 9; ++i)
    groups.push_back(group_of({run, i}, batch_at(static_cast<int64_t>(i), 1, 3 << 19)));
  Buffer content = file_with(run, groups);
  const Buffer header(content.end() - kJournalBlockBytes, content.end());
  content.resize(JournalDirectory::kOlderFileBytes - static_cast<int64_t>(kJournalBlockBytes));
  content.insert(content.end(), header.begin(), header.end());
  return content;
}

TEST_CASE("A file of the size that they had before is read once more, and then becomes one of today's") {
  JournalFixture f;
  f.open(false);
  REQUIRE(f.files.open("/data/journal/00000001.journal", OpenMode::kCreate));
  Buffer& content = f.files.content("/data/journal/00000001.journal");
  content = older_file();
  f.files.on_disk("/data/journal/00000001.journal") = content;
  SECTION("whole") {
    f.open(true);
    CHECK(f.recovered(kOrders).size() == 9);
    CHECK(f.directory->damages().empty());
    f.directory->keep_for({});
    f.add_file();
    REQUIRE(f.journal->stage(kOrders, 10, batch_at(10)));
    f.commit();
    f.files.crash();
    CHECK(f.files.content("/data/journal/00000001.journal").size() == JournalDirectory::kFileBytes);
    f.open(true);
    CHECK(f.files.paths().size() == 1);
    CHECK(f.recovered(kOrders) == std::vector<int64_t>{10});
    CHECK(f.directory->damages().empty());
  }
  SECTION("by the copy of its header") {
    content[20] ^= std::byte{1};
    f.open(true);
    CHECK(f.recovered(kOrders).size() == 9);
    CHECK(f.directory->damages().size() == 1);
  }
  SECTION("cut off") {
    content.resize(content.size() - kJournalBlockBytes);
    f.open(true);
    CHECK(f.recovered(kOrders).size() == 9);
    REQUIRE(f.directory->damages().size() == 1);
    CHECK(f.directory->damages()[0].find("a file of the journal has 16777216") != std::string::npos);
  }
}

TEST_CASE("A crash while a journal takes a file of the size before leaves it usable, and its header told") {
  const std::string path = "/data/journal/00000001.journal";
  for (const bool is_damaged : {false, true}) {
    for (int survives = 0; survives < 6; ++survives) {
      CAPTURE(is_damaged, survives);
      JournalFixture f;
      f.open(false);
      REQUIRE(f.files.open(path, OpenMode::kCreate));
      f.files.content(path) = older_file();
      if (is_damaged) f.files.content(path)[20] ^= std::byte{1};
      f.files.on_disk(path) = f.files.content(path);
      REQUIRE(f.files.sync_directory("/data/journal"));
      f.open(true);
      REQUIRE(f.recovered(kOrders).size() == 9);
      f.directory->keep_for({});
      int steps = 0;
      f.files.judge = [&](test::Operation operation, const std::string&) {
        const bool changes = operation == test::Operation::kDurableWrite ||
                             operation == test::Operation::kTruncate || operation == test::Operation::kSync;
        return changes && steps++ == survives ? test::Verdict::kFail : test::Verdict::kProceed;
      };
      const bool taken = f.directory->take_file(f.journal->run()).has_value();
      CHECK(taken == (steps <= survives));
      f.files.judge = nullptr;
      f.files.crash();
      f.open(true);
      // Its header is always found, so what is told is at most that the first one is damaged.
      for (const std::string& damage : f.directory->damages())
        CHECK(damage.find("the copy of that in its last block is used") != std::string::npos);
      f.check_the_only_file_works();
    }
  }
}

TEST_CASE("A batch that is gone from its file since the start read it is an error, and isn't restored") {
  JournalFixture f;
  f.open(false);
  f.add_file();
  REQUIRE(f.journal->stage(kOrders, 0, batch_at(0)));
  f.commit();
  f.open(true);
  const JournaledBatch batch = f.directory->recovered(kOrders).front();
  CHECK(batch.log_end_offset == 0);
  CHECK(batch.next_offset == 1);
  REQUIRE(read_journaled(batch));
  CHECK(*read_journaled(batch) == batch_at(0));
  f.files.content("/data/journal/00000001.journal")[static_cast<size_t>(batch.slice.position) + 61] ^=
      std::byte{1};
  const auto read = read_journaled(batch);
  REQUIRE_FALSE(read);
  CHECK(read.error().message.find("/data/journal/00000001.journal") == 0);
  f.files.content("/data/journal/00000001.journal").resize(static_cast<size_t>(batch.slice.position) + 10);
  CHECK_FALSE(read_journaled(batch));
}

TEST_CASE("A crash while a journal takes a file leaves it usable, at whichever write") {
  for (int survives = 0; survives < 3; ++survives) {
    JournalFixture f;
    f.open(false);
    f.add_file();
    f.open(false);
    int writes = 0;
    f.files.judge = [&](test::Operation operation, const std::string&) {
      const bool dies = operation == test::Operation::kDurableWrite && writes++ == survives;
      return dies ? test::Verdict::kFail : test::Verdict::kProceed;
    };
    CHECK(f.directory->take_file(f.journal->run()).has_value() == (survives == 2));
    f.files.judge = nullptr;
    f.files.crash();
    f.open(true);
    CHECK(f.directory->damages().empty());
    f.check_the_only_file_works();
  }
}

TEST_CASE("A file that the disk has no room for is an error, and leaves nothing") {
  JournalFixture f;
  f.open(false);
  f.files.faults.bytes_until_full = 1 << 20;
  CHECK_FALSE(f.directory->take_file(f.journal->run()));
  CHECK(f.files.paths().empty());
  f.files.faults.bytes_until_full = -1;
  CHECK(f.directory->take_file(f.journal->run()));
}

}  // namespace
}  // namespace millrace::storage
