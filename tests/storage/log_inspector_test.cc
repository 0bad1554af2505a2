#include "storage/log_inspector.h"

#include <catch2/catch.hpp>

#include "storage/log_directory.h"
#include "tests/storage/compaction_fixture.h"
#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::kNow;
using test::LogFixture;

struct InspectedLog : LogFixture {
  InspectedLog() {
    auto directory = LogDirectory::open_in_memory(files, "/data");
    REQUIRE(directory);
    REQUIRE((*directory)->create("orders", options.id));
    options.config.segment_bytes = static_cast<int32_t>(batch_of(3).size() * 3);
    options.config.index_interval_bytes = 1;
    open();
    for (int i = 0; i < 8; ++i) append(batch_of(3, kNow + i));
    REQUIRE(log->close(kNow));
  }
  InspectionReport inspect(const InspectionVisitor& visitor = {}) {
    auto inspected = inspect_partition(files, options.directory, index.get(), {}, visitor);
    if (!inspected) FAIL(inspected.error().message);
    return *inspected;
  }
};

TEST_CASE("A sound log is counted and shown, batch by batch and record by record") {
  InspectedLog f;
  std::vector<int64_t> batches;
  std::vector<int64_t> records;
  const InspectionVisitor visitor{[&](const std::string&, const BatchAt& at) {
                                    batches.push_back(at.header.base_offset);
                                    return true;
                                  },
                                  {},
                                  [&](const BatchAt&, const protocol::RecordView& record) {
                                    records.push_back(record.offset);
                                    return true;
                                  }};
  const auto report = f.inspect(visitor);
  CHECK(report.damages.empty());
  CHECK(report.segments == 3);
  CHECK(report.batches == 8);
  CHECK(report.records == 24);
  CHECK(report.index_entries == 8);
  CHECK(report.first_offset == 0);
  CHECK(report.last_offset == 23);
  CHECK(report.max_timestamp_ms == kNow + 7);
  CHECK(report.bytes == static_cast<int64_t>(8 * batch_of(3).size()));
  CHECK(batches == std::vector<int64_t>{0, 3, 6, 9, 12, 15, 18, 21});
  CHECK(records.size() == 24);
  CHECK(records.back() == 23);
}

TEST_CASE("What the index has behind the part that it covers is damage only after a clean stop") {
  InspectedLog f;
  REQUIRE(f.index->add_block({f.options.id, 18}, std::vector{IndexEntry{24, 999, kNow}}));
  CHECK(f.inspect().damages.empty());
  const auto report =
      inspect_partition(f.files, f.options.directory, f.index.get(), {.clean_shutdown = true}, {});
  REQUIRE(report);
  REQUIRE(report->damages.size() == 1);
  CHECK(report->damages[0].offset == 24);
}

TEST_CASE("The visitor ends the inspection when it has seen enough") {
  InspectedLog f;
  int seen = 0;
  const auto report = f.inspect({[&](const std::string&, const BatchAt&) { return ++seen < 4; }, {}, {}});
  CHECK(seen == 4);
  CHECK(report.batches == 4);
}

TEST_CASE("Damage is named with file, position and offset, and what is behind it is still looked at") {
  InspectedLog f;
  const size_t size = batch_of(3).size();
  auto& second = f.files.content(f.segment_path(9));
  SECTION("contents that the CRC isn't of") {
    second[size + 70] ^= std::byte{1};
    const auto report = f.inspect();
    REQUIRE(report.damages.size() == 1);
    CHECK(report.damages[0].file == f.segment_path(9));
    CHECK(report.damages[0].position == static_cast<int64_t>(size));
    CHECK(report.damages[0].offset == 12);
    CHECK(report.batches == 8);
  }
  SECTION("a length that can't be") {
    second[size + 8] = std::byte{0x7f};
    const auto report = f.inspect();
    REQUIRE_FALSE(report.damages.empty());
    CHECK(report.damages[0].position == static_cast<int64_t>(size));
    CHECK(report.damages[0].offset == 12);
    CHECK(report.damages[0].what.find("log verify") == std::string::npos);
    CHECK(report.damages.size() == 1);
    CHECK(report.segments == 3);
  }
  SECTION("an offset that goes back") {
    protocol::set_base_offset(MutableBytes(second).subspan(size), 10);
    const auto report = f.inspect();
    REQUIRE_FALSE(report.damages.empty());
    CHECK(report.damages[0].what.find("base offset 10 where 12 was due") != std::string::npos);
  }
  SECTION("a max timestamp that no record has") {
    protocol::set_max_timestamp(MutableBytes(second).subspan(size), protocol::TimestampType::kCreateTime,
                                kNow + 100);
    const auto report = f.inspect();
    REQUIRE_FALSE(report.damages.empty());
    CHECK(report.damages[0].what.find("max timestamp") != std::string::npos);
  }
  SECTION("an index entry that points nowhere") {
    auto entries = *f.index->entries({f.options.id, 9});
    entries[1].position += 1;
    REQUIRE(f.index->add_block({f.options.id, 9}, entries));
    const auto report = f.inspect();
    REQUIRE(report.damages.size() == 1);
    CHECK(report.damages[0].offset == 12);
  }
}

TEST_CASE("What is missing is damage, with and without the index") {
  InspectedLog f;
  // Segments begin at 0, 9 and 18.
  const bool with_index = GENERATE(true, false);
  const bool clean = GENERATE(true, false);
  std::string file;
  int64_t offset = 0;
  SECTION("the first segment") {
    REQUIRE(f.files.remove(f.segment_path(0)));
    file = f.segment_path(with_index ? 0 : 9);
  }
  SECTION("a middle segment") {
    REQUIRE(f.files.remove(f.segment_path(9)));
    file = f.segment_path(with_index ? 9 : 18);
    offset = 9;
  }
  SECTION("the last segment") {
    REQUIRE(f.files.remove(f.segment_path(18)));
    file = f.segment_path(with_index ? 18 : 9);
    offset = 18;
  }
  SECTION("the end of a middle segment, between two batches") {
    f.files.content(f.segment_path(9)).resize(batch_of(3).size());
    file = f.segment_path(with_index ? 9 : 18);
    offset = with_index ? 9 : 12;
  }
  InspectionOptions options;
  options.clean_shutdown = clean;
  const auto report =
      inspect_partition(f.files, f.options.directory, with_index ? f.index.get() : nullptr, options);
  REQUIRE(report);
  REQUIRE(report->damages.size() == 1);
  CHECK(report->damages[0].file == file);
  CHECK(report->damages[0].offset == offset);
  CHECK(report->damages[0].what.find("accept-loss") != std::string::npos);
  // The start says the same.
  f.log.reset();
  if (!with_index) f.index = std::move(*OffsetIndex::open_in_memory());
  const auto opened = f.try_open(clean);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().message.find(file) == 0);
}

TEST_CASE("A batch that compaction has emptied counts as little for the inspection as for the index") {
  test::CompactionFixture f;
  REQUIRE((*LogDirectory::open_in_memory(f.files, "/data"))->create("orders", f.options.id));
  f.options.config.index_interval_bytes = 1;
  f.log->set_config(f.options.config);
  // The last batch of an active producer stays, without its record.
  f.put({{"a", "1", kNow + 1000}}, {.producer_id = 7, .producer_epoch = 0, .base_sequence = 0});
  f.put({{"b", "1", kNow + 1}});
  f.put({{"c", "1", kNow + 2}});
  f.put({{"a", "2", kNow + 3}});
  f.seal();
  REQUIRE(f.compact());
  REQUIRE(f.text() == "1 b=1, 2 c=1, 3 a=2");
  REQUIRE(f.log->close(kNow));
  const auto report = inspect_partition(f.files, f.options.directory, f.index.get(), {});
  REQUIRE(report);
  CHECK(report->index_entries == 4);
  CHECK(report->damages.empty());
  CHECK(report->max_timestamp_ms == kNow + 3);
}

TEST_CASE("What a merge has left is no damage: the next start removes it") {
  test::CompactionFixture f;
  REQUIRE((*LogDirectory::open_in_memory(f.files, "/data"))->create("orders", f.options.id));
  f.put_and_seal({"a", "b", "c", "d"});
  const std::string merged = f.segment_path(1);
  bool is_dead = false;
  f.files.judge = [&](test::Operation operation, const std::string& path) {
    is_dead = is_dead || (operation == test::Operation::kRename && path == merged);
    return is_dead ? test::Verdict::kFail : test::Verdict::kProceed;
  };
  CHECK_FALSE(f.driver.run(*f.log, kNow, 3));
  REQUIRE(f.files.has(merged));
  f.log.reset();
  is_dead = false;
  f.files.judge = {};
  const auto report = inspect_partition(f.files, f.options.directory, f.index.get(), {});
  REQUIRE(report);
  CHECK(report->damages.empty());
  REQUIRE(report->notes.size() == 1);
  CHECK(report->notes[0].find(merged + " was merged into " + f.segment_path(0)) == 0);
  CHECK(report->records == 4);
  // Where nothing tells that they were merged, segments that overlap are damage.
  const std::string checkpoint = f.options.directory + "/" + std::string(CleanerCheckpoint::kFileName);
  const Buffer announced = f.files.content(checkpoint);
  f.files.content(checkpoint).clear();
  const auto overlapping = inspect_partition(f.files, f.options.directory, f.index.get(), {});
  REQUIRE(overlapping);
  CHECK(overlapping->notes.empty());
  REQUIRE_FALSE(overlapping->damages.empty());
  CHECK(overlapping->damages[0].file == merged);
  f.files.content(checkpoint) = announced;
  f.open();
  CHECK_FALSE(f.files.has(merged));
  const auto after = inspect_partition(f.files, f.options.directory, f.index.get(), {});
  REQUIRE(after);
  CHECK(after->notes.empty());
}

TEST_CASE("A checkpoint that is too long is damage like any other, and all else is looked at") {
  InspectedLog f;
  auto& content = f.files.content(f.options.directory + "/" + std::string(LogCheckpoint::kFileName));
  content.resize(content.size() + 5000);
  const auto report = f.inspect();
  REQUIRE(report.damages.size() == 1);
  CHECK(report.damages[0].file.ends_with(LogCheckpoint::kFileName));
  CHECK(report.records == 24);
  f.open();
  REQUIRE(f.report.warnings.size() == 1);
  CHECK(f.log->log_end_offset() == 24);
}

TEST_CASE("What the journal's records don't follow lacks some") {
  InspectedLog f;
  f.log.reset();
  auto journals = JournalDirectory::open(f.files, "/data/journal", false);
  REQUIRE(journals);
  Journal journal((*journals)->next_run(1), JournalDirectory::kFileBytes);
  REQUIRE(journal.add_file(*(*journals)->take_file(journal.run())) == nullptr);
  const int64_t end_offset = GENERATE(24, 27);
  Buffer batch = batch_of(1);
  protocol::set_base_offset(batch, end_offset);
  REQUIRE(journal.stage(f.options.id, end_offset, batch));
  REQUIRE(Journal::write(journal.take().at(0)));
  journals = JournalDirectory::open(f.files, "/data/journal", true);
  REQUIRE(journals);
  InspectionOptions options;
  options.journals = journals->get();
  const auto report = inspect_partition(f.files, f.options.directory, f.index.get(), options);
  REQUIRE(report);
  CHECK(report->damages.size() == (end_offset == 24 ? 0 : 1));
  // A file of the journal that was cut off, and whose batch it is.
  const std::string path = "/data/journal/00000001.journal";
  std::optional<TopicIdPartition> owner;
  InspectionVisitor visitor;
  visitor.on_journaled = [&](const std::string&, const TopicIdPartition& partition, const BatchAt&) {
    owner = partition;
    return true;
  };
  CHECK(inspect_journal(f.files, path, visitor)->damages.empty());
  CHECK(owner == f.options.id);
  const Buffer whole = f.files.content(path);
  f.files.content(path).resize(whole.size() + 5000, std::byte{'z'});
  const auto long_report = inspect_journal(f.files, path, {});
  REQUIRE(long_report);
  REQUIRE(long_report->damages.size() == 1);
  CHECK(long_report->damages[0].position == JournalDirectory::kFileBytes);
  CHECK(long_report->damages[0].what.find("nothing is missing") != std::string::npos);
  f.files.content(path) = whole;
  f.files.content(path).resize(20 << 10);
  const auto short_report = inspect_journal(f.files, path, {});
  REQUIRE(short_report);
  REQUIRE(short_report->damages.size() == 1);
  CHECK(short_report->damages[0].position == 20 << 10);
  CHECK(short_report->damages[0].what.find("cut off") != std::string::npos);
}

TEST_CASE("A single segment file is inspected without its neighbours") {
  InspectedLog f;
  const auto report = inspect_segment(f.files, f.segment_path(9), {});
  REQUIRE(report);
  CHECK(report->batches == 3);
  CHECK(report->first_offset == 9);
  CHECK_FALSE(inspect_segment(f.files, f.segment_path(10), {}));
}

}  // namespace
}  // namespace millrace::storage
