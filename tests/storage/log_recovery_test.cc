#include <catch2/catch.hpp>

#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::kNow;
using test::LogFixture;
using Offsets = std::vector<int64_t>;

TEST_CASE("A tail torn at any byte is cut back to the last whole batch, and the log goes on there") {
  LogFixture f;
  f.open();
  for (int i = 0; i < 3; ++i) f.append(batch_of(2));
  const Buffer whole = f.files.content(f.segment_path(0));
  const size_t size = batch_of(2).size();
  REQUIRE(whole.size() == 3 * size);
  for (size_t bytes = 0; bytes <= whole.size(); ++bytes) {
    INFO("cut at byte " << bytes);
    f.log.reset();
    f.files.content(f.segment_path(0))
        .assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
    f.open();
    const size_t batches = bytes / size;
    REQUIRE(f.log->log_end_offset() == static_cast<int64_t>(2 * batches));
    REQUIRE(f.files.content(f.segment_path(0)).size() == batches * size);
    REQUIRE(f.report.cuts.size() == (bytes % size == 0 ? 0 : 1));
    if (!f.report.cuts.empty()) {
      REQUIRE(f.report.cuts[0].position == static_cast<int64_t>(batches * size));
      REQUIRE(f.report.cuts[0].bytes == static_cast<int64_t>(bytes % size));
      REQUIRE(f.report.cuts[0].file == f.segment_path(0));
    }
    REQUIRE(f.append(batch_of(2)).base_offset == static_cast<int64_t>(2 * batches));
  }
}

TEST_CASE("A byte that changed anywhere in the last batch is found, but for its leader epoch") {
  LogFixture f;
  f.open();
  f.append(batch_of(2));
  f.append(batch_of(2));
  const Buffer whole = f.files.content(f.segment_path(0));
  const size_t size = batch_of(2).size();
  for (size_t at = size; at < whole.size(); ++at) {
    // Offset, length, epoch and magic are outside the CRC: the epoch is free, the offset can only be the
    // next.
    const size_t in_batch = at - size;
    if (in_batch >= 12 && in_batch < 16) continue;
    INFO("byte " << in_batch << " of the batch");
    f.log.reset();
    f.files.content(f.segment_path(0)) = whole;
    f.files.content(f.segment_path(0))[at] ^= std::byte{0x40};
    f.open();
    REQUIRE(f.log->log_end_offset() == 2);
    REQUIRE(f.report.cuts.size() == 1);
  }
}

// No CRC covers it.
void flip_base_offset(Buffer& content, size_t batch_at, int bit) {
  content[batch_at + 7 - static_cast<size_t>(bit) / 8] ^= std::byte{1} << (bit % 8);
}

TEST_CASE("A base offset that changed is put right where the batches around it tell what it was") {
  LogFixture f;
  f.open();
  const size_t size = batch_of(2).size();
  for (int i = 0; i < 4; ++i) f.append(batch_of(2));
  const size_t batch = GENERATE(0, 1, 2);
  const int bit = GENERATE(0, 1, 2, 8, 16, 40, 62, 63);
  CAPTURE(batch, bit);
  const Buffer whole = f.files.content(f.segment_path(0));
  f.log.reset();
  flip_base_offset(f.files.content(f.segment_path(0)), batch * size, bit);
  f.kill_and_open();
  CHECK(f.base_offsets() == Offsets{0, 2, 4, 6});
  CHECK(f.report.cuts.empty());
  REQUIRE(f.report.notes.size() == 1);
  CHECK(f.report.notes[0].find("was put right") != std::string::npos);
  CHECK(f.files.content(f.segment_path(0)) == whole);
  // For good.
  f.files.crash();
  f.kill_and_open();
  CHECK(f.base_offsets() == Offsets{0, 2, 4, 6});
  CHECK(f.report.notes.empty());
}

TEST_CASE("A last batch with another base offset, which nothing restores, is kept beside the log") {
  LogFixture f;
  f.open();
  const size_t size = batch_of(2).size();
  for (int i = 0; i < 3; ++i) f.append(batch_of(2));
  f.log.reset();
  // Of offset 4: to 6, and to 0.
  flip_base_offset(f.files.content(f.segment_path(0)), 2 * size, GENERATE(1, 2));
  f.kill_and_open();
  CHECK(f.base_offsets() == Offsets{0, 2});
  REQUIRE(f.report.cuts.size() == 1);
  CHECK(f.report.cuts[0].set_aside);
  CHECK(f.files.content(f.segment_path(0) + ".cut").size() == size);
}

TEST_CASE("The last batch of a closed segment is put right by where the next one begins") {
  LogFixture f;
  const size_t size = batch_of(2).size();
  f.options.config.segment_bytes = static_cast<int32_t>(size * 2);
  f.open();
  for (int i = 0; i < 6; ++i) f.append(batch_of(2));
  f.log.reset();
  flip_base_offset(f.files.content(f.segment_path(4)), size, GENERATE(3, 30, 62));
  f.index = std::move(*OffsetIndex::open_in_memory());
  f.kill_and_open();
  CHECK(f.base_offsets() == Offsets{0, 2, 4, 6, 8, 10});
  CHECK(f.report.cuts.empty());
}

// A batch from before a truncation, where the page with what followed it is missing.
TEST_CASE("A batch whose offset can't be the one that is due isn't put right, if others follow it") {
  LogFixture f;
  f.open();
  const size_t size = batch_of(2).size();
  for (int i = 0; i < 4; ++i) f.append(batch_of(2));
  f.log.reset();
  Buffer& content = f.files.content(f.segment_path(0));
  for (size_t batch = 2; batch < 4; ++batch)
    protocol::set_base_offset(MutableBytes(content).subspan(batch * size),
                              static_cast<int64_t>(10 + 2 * batch));
  f.kill_and_open();
  CHECK(f.base_offsets() == Offsets{0, 2});
  CHECK(f.report.cuts.size() == 1);
}

TEST_CASE("Between the batches of a log that was compacted there may be holes") {
  LogFixture f;
  f.options.config.compact = true;
  f.options.config.delete_old = false;
  f.open();
  for (int i = 0; i < 3; ++i) {
    protocol::BatchBuilder builder{protocol::BatchOptions()};
    builder.append(as_bytes(std::string_view("key")), as_bytes(std::string_view("value")), {}, kNow);
    auto batch = builder.build();
    REQUIRE(batch);
    f.append(std::move(*batch));
  }
  f.log.reset();
  Buffer& content = f.files.content(f.segment_path(0));
  const size_t last = content.size() / 3 * 2;
  protocol::set_base_offset(MutableBytes(content).subspan(last), 7);
  SECTION("upwards") {
    f.kill_and_open();
    CHECK(f.base_offsets() == Offsets{0, 1, 7});
  }
  SECTION("but not as far as no segment reaches") {
    protocol::set_base_offset(MutableBytes(content).subspan(last), int64_t{1} << 62);
    f.kill_and_open();
    CHECK(f.base_offsets() == Offsets{0, 1});
  }
}

TEST_CASE("Zeros behind the last batch, as a preallocated file has them, are cut") {
  LogFixture f;
  f.open();
  f.append(batch_of(2));
  f.log.reset();
  auto& content = f.files.content(f.segment_path(0));
  content.resize(content.size() + 5000);
  f.open();
  CHECK(f.log->log_end_offset() == 2);
  CHECK(f.report.cuts.at(0).bytes == 5000);
}

struct SegmentedLog : LogFixture {
  SegmentedLog() {
    options.config.segment_bytes = static_cast<int32_t>(batch_of(2).size() * 2);
    open();
    for (int i = 0; i < 6; ++i) append(batch_of(2));
    REQUIRE(log->segment_count() == 3);
  }
  void damage(int64_t segment) { files.content(segment_path(segment))[70] ^= std::byte{1}; }
};

TEST_CASE("Damage in a segment that was never synced takes the later segments with it: a log has no holes") {
  SegmentedLog f;
  f.damage(4);
  f.kill_and_open();
  CHECK(f.log->log_end_offset() == 4);
  CHECK(f.base_offsets() == Offsets{0, 2});
  REQUIRE(f.report.cuts.size() == 2);
  CHECK(f.report.cuts[0].file == f.segment_path(4));
  CHECK(f.report.cuts[1].file == f.segment_path(8));
  CHECK_FALSE(f.files.has(f.segment_path(8)));
  CHECK(f.append(batch_of(2)).base_offset == 4);
}

TEST_CASE("Damage in synced data is left where it is, after a close and after a kill") {
  SegmentedLog f;
  const bool closed = GENERATE(false, true);
  const Result<> ended = closed ? f.log->close(kNow) : f.log->flush();
  REQUIRE(ended);
  f.log.reset();
  f.damage(4);
  f.index = std::move(*OffsetIndex::open_in_memory());
  const auto before = f.files.paths();
  const Buffer content = f.files.content(f.segment_path(4));
  REQUIRE(f.try_open(closed));
  CHECK(f.report.cuts.empty());
  REQUIRE(f.report.damages.size() == 1);
  CHECK(f.report.damages[0].file == f.segment_path(4));
  CHECK(f.report.damages[0].position == 0);
  CHECK(f.log->log_end_offset() == 12);
  CHECK(f.files.paths() == before);
  CHECK(f.files.content(f.segment_path(4)) == content);
}

TEST_CASE("What recovery takes out of the middle of a log is kept beside it") {
  SegmentedLog f;
  const Buffer damaged_part = [&] {
    f.damage(4);
    return f.files.content(f.segment_path(4));
  }();
  const Buffer later = f.files.content(f.segment_path(8));
  f.kill_and_open();
  CHECK(f.log->log_end_offset() == 4);
  REQUIRE(f.report.cuts.size() == 2);
  CHECK(f.report.cuts[0].set_aside);
  CHECK(f.files.content(f.segment_path(4) + ".cut") == damaged_part);
  CHECK(f.files.content(f.segment_path(8) + ".cut") == later);
}

TEST_CASE("A tail is kept beside the log when there is a sound batch behind the damage") {
  LogFixture f;
  f.open();
  for (int i = 0; i < 3; ++i) f.append(batch_of(2));
  f.log.reset();
  const size_t size = batch_of(2).size();
  Buffer& content = f.files.content(f.segment_path(0));
  SECTION("in the records") { content[size + 70] ^= std::byte{1}; }
  SECTION("in the length") { content[size + 8] ^= std::byte{0x40}; }
  SECTION("in the magic, and the last batch is torn") {
    content[16] ^= std::byte{1};
    content.resize(content.size() - 1);
  }
  const Buffer damaged = content;
  f.open();
  const auto cut = static_cast<std::ptrdiff_t>(content.size());
  REQUIRE(f.report.cuts.size() == 1);
  CHECK(f.report.cuts[0].set_aside);
  CHECK(f.report.cuts[0].position == cut);
  CHECK(f.files.content(f.segment_path(0) + ".cut") == Buffer(damaged.begin() + cut, damaged.end()));
  // What can't have been more than a torn tail isn't.
  REQUIRE(f.files.remove(f.segment_path(0) + ".cut"));
  f.append(batch_of(2));
  f.append(batch_of(2));
  content.resize(content.size() - size / 2);
  f.kill_and_open();
  REQUIRE(f.report.cuts.size() == 1);
  CHECK_FALSE(f.report.cuts[0].set_aside);
  CHECK_FALSE(f.files.has(f.segment_path(0) + ".cut"));
}

TEST_CASE("A segment that lost whole batches at its end takes the later ones with it") {
  SegmentedLog f;
  f.files.content(f.segment_path(4)).resize(batch_of(2).size());
  f.kill_and_open();
  CHECK(f.log->log_end_offset() == 6);
  CHECK(f.base_offsets() == Offsets{0, 2, 4});
  CHECK(f.report.notes.size() == 1);
  CHECK(f.report.cuts.size() == 1);
}

TEST_CASE("What was synced survives the loss of everything else") {
  LogFixture f;
  f.open();
  f.append(batch_of(2));
  REQUIRE(f.log->flush());
  f.append(batch_of(2));
  f.log.reset();
  f.files.crash();
  f.open();
  CHECK(f.log->log_end_offset() == 2);
}

TEST_CASE("Dirty files synced elsewhere count once they are marked") {
  SegmentedLog f;
  const DirtyFiles dirty = f.log->dirty_files().value();
  CHECK(dirty.files.size() == 3);
  CHECK(dirty.end_offset == 12);
  f.append(batch_of(2));
  REQUIRE(dirty.sync(f.files));
  f.log->mark_synced(dirty);
  CHECK(f.log->recovery_point() == 12);
  CHECK(f.log->dirty_files()->files.size() == 1);
  f.log.reset();
  f.files.crash();
  f.open();
  CHECK(f.log->log_end_offset() == 12);
  // Synced segments needn't be read again.
  CHECK(f.report.segments_covered == 3);
  CHECK(f.report.segments_scanned == 1);
}

TEST_CASE("A full disk refuses the append and leaves nothing of it") {
  LogFixture f;
  f.open();
  f.append(batch_of(2));
  const Buffer before = f.files.content(f.segment_path(0));
  for (int64_t left : {0, 1, 60, 61, 90}) {
    f.files.faults.bytes_until_full = left;
    CHECK(f.append_error(batch_of(2)) == ErrorCode::kKafkaStorageError);
    CHECK(f.files.content(f.segment_path(0)) == before);
    CHECK(f.log->log_end_offset() == 2);
    CHECK_FALSE(f.log->is_offline());
  }
  f.files.faults.bytes_until_full = -1;
  CHECK(f.append(batch_of(2)).base_offset == 2);
  f.kill_and_open();
  CHECK(f.log->log_end_offset() == 4);
}

TEST_CASE("A write that can't be taken back puts the log offline, and the next start cuts it") {
  LogFixture f;
  f.open();
  f.append(batch_of(2));
  f.files.faults = {.bytes_until_full = 10, .fail_truncate = true};
  CHECK(f.append_error(batch_of(2)) == ErrorCode::kKafkaStorageError);
  CHECK(f.log->is_offline());
  f.files.faults = {};
  CHECK(f.append_error(batch_of(2)) == ErrorCode::kKafkaStorageError);
  CHECK(f.log->read(0, 2, 1000, true)->size == batch_of(2).size());
  f.kill_and_open();
  CHECK(f.report.cuts.at(0).bytes == 10);
  CHECK(f.append(batch_of(2)).base_offset == 2);
}

TEST_CASE("A failed sync puts the log offline: what the page cache holds is unknown from then on") {
  LogFixture f;
  f.open();
  f.append(batch_of(2));
  f.files.faults.fail_sync = true;
  CHECK_FALSE(f.log->flush());
  CHECK(f.log->is_offline());
  CHECK(f.log->recovery_point() == 0);
  CHECK(f.append_error(batch_of(2)) == ErrorCode::kKafkaStorageError);
}

TEST_CASE("A segment that can't be created refuses the append and changes nothing") {
  SegmentedLog f;
  f.files.faults.fail_create = true;
  CHECK(f.append_error(batch_of(2)) == ErrorCode::kKafkaStorageError);
  CHECK(f.log->log_end_offset() == 12);
  f.files.faults = {};
  CHECK(f.append(batch_of(2)).base_offset == 12);
  CHECK(f.log->segment_count() == 4);
}

TEST_CASE("The start offset survives restarts, and reading below it is out of range") {
  SegmentedLog f;
  CHECK(*f.log->delete_records(5) == 5);
  CHECK(*f.log->delete_records(3) == 5);
  CHECK(f.log->read(4, 12, 100, true).error().code == ErrorCode::kOffsetOutOfRange);
  f.log.reset();
  f.files.crash([](size_t unsynced) { return unsynced; });
  f.open();
  CHECK(f.log->log_start_offset() == 5);
  CHECK(f.first_offset_of(*f.log->read(5, 12, 1, true)) == 4);
  CHECK(test::retain(*f.log, f.files, kNow, 12)->by_start_offset == 1);
  CHECK(f.log->log_start_offset() == 5);
  CHECK(f.log->segment_count() == 2);
}

TEST_CASE("A checkpoint that doesn't parse is reported and the log opens without it") {
  SegmentedLog f;
  REQUIRE(f.log->delete_records(5));
  f.log.reset();
  f.files.content(f.options.directory + "/log-checkpoint").resize(10);
  f.open();
  CHECK(f.log->log_start_offset() == 0);
  CHECK(f.report.warnings.size() == 1);
}

TEST_CASE("Leftovers of deletions and half-written files are removed at the start") {
  SegmentedLog f;
  f.options.config.file_delete_delay_ms = 60'000;
  f.options.config.retention_bytes = 0;
  f.log->set_config(f.options.config);
  REQUIRE(test::retain(*f.log, f.files, kNow, 8));
  CHECK(f.files.has(f.segment_path(0) + ".deleted"));
  REQUIRE(f.files.open(f.options.directory + "/leader-epoch-checkpoint.tmp", OpenMode::kCreate));
  f.kill_and_open();
  CHECK(f.log->log_start_offset() == 8);
  for (const std::string& path : f.files.paths()) {
    CHECK_FALSE(path.ends_with(".deleted"));
    CHECK_FALSE(path.ends_with(".tmp"));
  }
}

TEST_CASE("A segment begun just before a kill outlives a power loss after the next start") {
  SegmentedLog f;
  REQUIRE(f.log->roll(kNow));
  f.append(batch_of(2));
  f.kill_and_open();
  CHECK(f.log->recovery_point() == 14);
  f.log.reset();
  f.files.crash();
  f.open();
  CHECK(f.log->log_end_offset() == 14);
}

TEST_CASE("A deleted file is due after file.delete.delay.ms") {
  SegmentedLog f;
  f.options.config.file_delete_delay_ms = 60'000;
  f.options.config.retention_bytes = 0;
  f.log->set_config(f.options.config);
  REQUIRE(test::retain(*f.log, f.files, kNow, 4));
  CHECK(f.files.has(f.segment_path(0) + ".deleted"));
  CHECK(test::due_files(*f.log, f.files, kNow + 59'999).empty());
  CHECK(test::due_files(*f.log, f.files, kNow + 60'000) == std::vector{f.segment_path(0) + ".deleted"});
  CHECK(test::due_files(*f.log, f.files, kNow + 60'000).empty());
}

TEST_CASE("A deleted file doesn't wait for one that was deleted before it with a longer delay") {
  SegmentedLog f;
  f.options.config.file_delete_delay_ms = GENERATE(int64_t{86'400'000}, INT64_MAX);
  f.options.config.delete_old = false;
  f.log->set_config(f.options.config);
  REQUIRE(f.log->delete_records(4));
  REQUIRE(test::retain(*f.log, f.files, kNow, 12));
  REQUIRE(f.files.has(f.segment_path(0) + ".deleted"));
  CHECK_FALSE(f.log->has_due_files(kNow));
  f.options.config.file_delete_delay_ms = 0;
  f.log->set_config(f.options.config);
  REQUIRE(f.log->delete_records(8));
  REQUIRE(test::retain(*f.log, f.files, kNow, 12));
  REQUIRE(f.files.has(f.segment_path(4) + ".deleted"));
  CHECK(f.log->has_due_files(kNow));
  CHECK(test::due_files(*f.log, f.files, kNow) == std::vector{f.segment_path(4) + ".deleted"});
  CHECK_FALSE(f.log->has_due_files(kNow));
  CHECK(f.files.has(f.segment_path(0) + ".deleted"));
  f.kill_and_open();
  CHECK(f.log->log_start_offset() == 8);
}

}  // namespace
}  // namespace millrace::storage
