#include "storage/damage.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <limits>

#include "storage/checksummed_text.h"
#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::kNow;
using test::LogFixture;
using Offsets = std::vector<int64_t>;

// Three synced segments of four batches of one record each: 0 to 3, 4 to 7, 8 to 11.
struct ThreeSegments : LogFixture {
  const size_t batch_bytes = batch_of(1).size();

  ThreeSegments() {
    options.config.segment_bytes = static_cast<int32_t>(batch_bytes * 4);
    open();
    for (int i = 0; i < 12; ++i) append(batch_of(1));
    REQUIRE(log->segment_count() == 3);
    REQUIRE(log->flush());
  }
  // Of the batch with this offset: its last byte, or the first of its length.
  void damage_records(int64_t offset) { flip(offset, batch_bytes - 1); }
  void damage_length(int64_t offset) { flip(offset, 8); }
  // Which no CRC covers: the byte makes it greater.
  void damage_base_offset(int64_t offset, size_t byte) { flip(offset, byte); }

  std::vector<DamagedRange> survey(const SealedSegment& segment, int64_t step = 1 << 20) {
    SegmentSurvey survey(*files.open(segment.path, OpenMode::kRead), segment);
    int steps = 1;
    while (survey.advance(step)) ++steps;
    if (step < segment.size) CHECK(steps > 1);
    CHECK(survey.position() == segment.size);
    return survey.damages();
  }
  void scrub() {
    for (const SealedSegment& segment : log->sealed_segments()) {
      for (const DamagedRange& range : survey(segment)) CHECK(log->note_damage(segment, range, kNow));
    }
  }
  void checkpoint() {
    const auto begun = log->begin_checkpoint();
    REQUIRE(begun);
    REQUIRE(begun->dirty.sync(files));
    log->finish_checkpoint(*begun);
  }
  // Offsets that can be read one by one; the others must be refused as damaged.
  Offsets readable() const {
    Offsets offsets;
    for (int64_t offset = log->log_start_offset(); offset < log->log_end_offset(); ++offset) {
      const auto slice = log->read(offset, log->log_end_offset(), 1 << 20, true);
      if (!slice) {
        CHECK(slice.error().code == ErrorCode::kCorruptMessage);
        continue;
      }
      // Everything that is sent is sound.
      const Buffer bytes = bytes_of(*slice);
      const auto walked = protocol::for_each_batch(bytes, [](const protocol::BatchHeader&, Bytes batch) {
        CHECK(protocol::crc_matches(batch));
        return true;
      });
      CHECK(walked);
      CHECK(protocol::peek_batch_header(bytes)->base_offset == offset);
      offsets.push_back(offset);
    }
    return offsets;
  }

 private:
  void flip(int64_t offset, size_t byte) {
    Buffer& content = files.content(segment_path(offset / 4 * 4));
    content[static_cast<size_t>(offset % 4) * batch_bytes + byte] ^= std::byte{0x40};
  }
};

TEST_CASE("A survey finds nothing in sound segments, and looks at all but what is written now") {
  ThreeSegments f;
  const auto sealed = f.log->sealed_segments();
  REQUIRE(sealed.size() == 2);
  CHECK(sealed[0].base_offset == 0);
  CHECK(sealed[0].end_offset == 4);
  CHECK(sealed[1].size == static_cast<int64_t>(f.batch_bytes * 4));
  for (const SealedSegment& segment : sealed) {
    CHECK(f.survey(segment).empty());
    CHECK(f.survey(segment, 10).empty());
  }
}

TEST_CASE("What isn't synced is no matter for a survey: recovery looks at it") {
  ThreeSegments f;
  f.append(batch_of(1));
  REQUIRE(f.log->segment_count() == 4);
  CHECK(f.log->sealed_segments().size() == 3);
  for (int i = 0; i < 4; ++i) f.append(batch_of(1));
  CHECK(f.log->sealed_segments().size() == 3);
}

TEST_CASE("A batch with another base offset is refused, and everything before and behind it is served") {
  ThreeSegments f;
  const int64_t offset = GENERATE(range<int64_t>(0, 8));
  const size_t byte = GENERATE(0, 3, 7);
  CAPTURE(offset, byte);
  f.damage_base_offset(offset, byte);
  f.scrub();
  REQUIRE(f.log->damages().count() == 1);
  const DamagedRange* damage = f.log->damages().covering(offset);
  REQUIRE(damage != nullptr);
  CHECK(damage->first_offset == offset);
  CHECK(damage->end_offset == offset + 1);
  CHECK(damage->what.find(fmt::format("where {} was due", offset)) != std::string::npos);
  Offsets expected;
  for (int64_t i = 0; i < 12; ++i)
    if (i != offset) expected.push_back(i);
  CHECK(f.readable() == expected);
  // The next start puts it right.
  f.kill_and_open();
  CHECK(f.readable().size() == 12);
  CHECK(f.log->damages().empty());
}

TEST_CASE("A damaged batch is refused, and everything before and behind it is served") {
  ThreeSegments f;
  const int64_t offset = GENERATE(range<int64_t>(0, 8));
  INFO("offset " << offset);
  f.damage_records(offset);
  f.scrub();
  CHECK(f.log->damages().count() == 1);
  Offsets expected;
  for (int64_t i = 0; i < 12; ++i)
    if (i != offset) expected.push_back(i);
  CHECK(f.readable() == expected);
}

TEST_CASE("Behind a damaged length the rest of the segment is refused") {
  ThreeSegments f;
  const int64_t offset = GENERATE(range<int64_t>(0, 8));
  INFO("offset " << offset);
  f.damage_length(offset);
  f.scrub();
  Offsets expected;
  for (int64_t i = 0; i < 12; ++i)
    if (i < offset || i >= offset / 4 * 4 + 4) expected.push_back(i);
  CHECK(f.readable() == expected);
}

TEST_CASE("Neighbouring damages are one range, distant ones two") {
  ThreeSegments f;
  f.damage_records(1);
  f.damage_records(2);
  const auto first = f.survey(f.log->sealed_segments()[0]);
  REQUIRE(first.size() == 1);
  CHECK(first[0].first_offset == 1);
  CHECK(first[0].end_offset == 3);
  CHECK(first[0].position == static_cast<int64_t>(f.batch_bytes));
  CHECK(describe(first[0], "orders-3").find("Offsets 1 to 2 of orders-3") != std::string::npos);
  f.damage_records(4);
  f.damage_records(7);
  const auto second = f.survey(f.log->sealed_segments()[1]);
  REQUIRE(second.size() == 2);
  CHECK(second[0].end_offset == 5);
  CHECK(second[1].first_offset == 7);
  CHECK(second[1].end_offset == 8);
}

TEST_CASE("Damage counts once, and not for a segment that has changed meanwhile") {
  ThreeSegments f;
  f.damage_records(1);
  const SealedSegment segment = f.log->sealed_segments()[0];
  const DamagedRange range = f.survey(segment)[0];
  SealedSegment other = segment;
  ++other.size;
  CHECK_FALSE(f.log->note_damage(other, range, kNow));
  CHECK(f.log->note_damage(segment, range, kNow));
  CHECK_FALSE(f.log->note_damage(segment, range, kNow));
  REQUIRE(f.log->delete_records(2));
  CHECK(f.log->damages().empty());
  CHECK_FALSE(f.log->note_damage(segment, range, kNow));
}

TEST_CASE("What a scrub found damaged stays refused after a start, until it is restored") {
  ThreeSegments f;
  const bool clean = GENERATE(false, true);
  f.damage_records(5);
  f.scrub();
  const Offsets expected = {0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11};
  for (int start = 0; start < 2; ++start) {
    INFO((clean ? "clean" : "killed") << " " << start);
    if (clean) {
      f.close_and_open();
    } else {
      REQUIRE(f.index->flush());
      f.kill_and_open();
    }
    CHECK(f.report.damages.size() == 1);
    CHECK(f.readable() == expected);
  }
  f.damage_records(5);
  f.close_and_open();
  CHECK(f.readable().size() == 12);
}

TEST_CASE("Damage in the synced part of the active segment is refused, and a start goes on behind it") {
  ThreeSegments f;
  const bool length = GENERATE(false, true);
  INFO((length ? "a length" : "records"));
  f.append(batch_of(1));
  f.append(batch_of(1));
  REQUIRE(f.log->sealed_segments().size() == 3);
  f.checkpoint();
  const auto sealed = f.log->sealed_segments();
  REQUIRE(sealed.size() == 4);
  CHECK(sealed[3].end_offset == 14);
  length ? f.damage_length(12) : f.damage_records(12);
  f.append(batch_of(1));
  f.scrub();
  Offsets expected = length ? Offsets{} : Offsets{13, 14};
  for (int64_t i = 0; i < 12; ++i) expected.insert(expected.begin() + i, i);
  CHECK(f.readable() == expected);
  CHECK(f.append(batch_of(1)).base_offset == 15);
  expected.push_back(15);
  for (int start = 0; start < 4; ++start) {
    INFO("start " << start);
    CHECK(f.readable() == expected);
    if (start % 2 == 0) {
      f.close_and_open();
    } else {
      f.log.reset();
      f.files.crash();
      f.kill_and_open();
    }
  }
  CHECK(f.report.cuts.empty());
}

TEST_CASE("What was found in the active segment counts while it grows and rolls, not after a truncation") {
  ThreeSegments f;
  f.append(batch_of(1));
  f.append(batch_of(1));
  f.checkpoint();
  const SealedSegment part = f.log->sealed_segments().back();
  REQUIRE(part.base_offset == 12);
  f.damage_records(13);
  const DamagedRange range = f.survey(part).at(0);
  for (int i = 0; i < 3; ++i) f.append(batch_of(1));
  SECTION("rolled") {
    CHECK(f.log->note_damage(part, range, kNow));
    CHECK(f.log->damages().covering(13) != nullptr);
    CHECK(f.log->damages().covering(14) == nullptr);
  }
  SECTION("truncated and written again") {
    REQUIRE(f.log->truncate_to(13, kNow));
    for (int i = 0; i < 3; ++i) f.append(batch_of(1));
    CHECK_FALSE(f.log->note_damage(part, range, kNow));
    CHECK(f.log->damages().empty());
  }
}

TEST_CASE("Of a segment that was cut off the rest is served, once a reader has met its end") {
  ThreeSegments f;
  const auto whole = f.log->read(0, 12, 1 << 20, true);
  REQUIRE(whole);
  Buffer& content = f.files.content(f.segment_path(0));
  const Buffer before = content;
  content.resize(f.batch_bytes * 2 + 7);
  whole->file->note_end(static_cast<int64_t>(content.size()));
  CHECK(f.log->read(0, 12, 1 << 20, true)->size == content.size());
  const auto lost = f.log->read(2, 12, 1 << 20, true);
  REQUIRE_FALSE(lost);
  CHECK(lost.error().code == ErrorCode::kCorruptMessage);
  CHECK(lost.error().message.find(f.segment_path(0)) != std::string::npos);
  CHECK(f.log->read(4, 12, 1 << 20, true)->size == before.size());
  content = before;
  CHECK(f.log->read(0, 12, 1 << 20, true)->size == before.size());
}

TEST_CASE("A truncation into damage lets what comes next be read") {
  ThreeSegments f;
  f.damage_length(5);
  f.scrub();
  REQUIRE(f.log->damages().covering(7) != nullptr);
  DamageList list = f.log->damages();
  list.forget_from(6);
  CHECK(list.covering(5) != nullptr);
  CHECK(list.covering(6) == nullptr);
}

TEST_CASE("A start without the index finds damage in synced data, refuses it and serves the rest") {
  ThreeSegments f;
  const bool length = GENERATE(false, true);
  INFO((length ? "a length" : "records"));
  length ? f.damage_length(5) : f.damage_records(5);
  const auto before = f.files.paths();
  f.log.reset();
  f.index = std::move(*OffsetIndex::open_in_memory());
  f.kill_and_open();
  CHECK(f.report.cuts.empty());
  REQUIRE(f.report.damages.size() == 1);
  CHECK(f.report.damages[0].file == f.segment_path(4));
  CHECK(f.report.damages[0].position == static_cast<int64_t>(f.batch_bytes));
  CHECK(f.report.damages[0].first_offset == 5);
  CHECK(f.report.damages[0].end_offset == (length ? 8 : 6));
  CHECK(f.readable() ==
        (length ? Offsets{0, 1, 2, 3, 4, 8, 9, 10, 11} : Offsets{0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11}));
  // Nothing was changed, and the log goes on.
  CHECK(f.files.paths() == before);
  CHECK(f.append(batch_of(1)).base_offset == 12);
}

TEST_CASE("Damage in synced data of the active segment is a matter for a person: nothing is cut") {
  ThreeSegments f;
  // Has the checkpoint say that everything is synced.
  REQUIRE(f.log->delete_records(1));
  f.damage_records(9);
  const Buffer content = f.files.content(f.segment_path(8));
  f.log.reset();
  f.index = std::move(*OffsetIndex::open_in_memory());
  const auto opened = f.try_open();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().message.find("although it was synced up to offset 12") != std::string::npos);
  CHECK(f.files.content(f.segment_path(8)) == content);
}

TEST_CASE("What a clean stop has closed is known to be synced, whatever becomes of the index") {
  LogFixture f;
  f.open();
  for (int i = 0; i < 4; ++i) f.append(batch_of(1));
  SECTION("and the start is the one after it") { REQUIRE(f.log->close(kNow)); }
  SECTION("and there was another start, and a kill") {
    f.close_and_open();
    f.append(batch_of(1));
  }
  f.log.reset();
  f.files.content(f.segment_path(0))[batch_of(1).size() + 70] ^= std::byte{1};
  const Buffer content = f.files.content(f.segment_path(0));
  f.index = std::move(*OffsetIndex::open_in_memory());
  for (const bool clean : {true, false}) {
    const auto opened = f.try_open(clean);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().message.find("although it was synced up to offset 4") != std::string::npos);
    CHECK(f.files.content(f.segment_path(0)) == content);
  }
}

TEST_CASE("Damage before the log's start bothers nobody, not even in the active segment") {
  ThreeSegments f;
  REQUIRE(f.log->delete_records(10));
  f.damage_records(9);
  f.log.reset();
  f.index = std::move(*OffsetIndex::open_in_memory());
  f.kill_and_open();
  CHECK(f.readable() == Offsets{10, 11});
  CHECK(f.append(batch_of(1)).base_offset == 12);
}

TEST_CASE("A segment that is missing or cut off is a matter for a person, who may accept the loss") {
  ThreeSegments f;
  const bool without_index = GENERATE(false, true);
  // Has the checkpoint say that everything is synced.
  REQUIRE(f.log->delete_records(1));
  f.close_and_open();
  f.log.reset();
  int64_t end_offset = 12;
  SECTION("the last") {
    REQUIRE(f.files.remove(f.segment_path(8)));
    end_offset = 8;
  }
  SECTION("the end of the last, between two batches") {
    f.files.content(f.segment_path(8)).resize(f.batch_bytes);
    end_offset = 9;
  }
  SECTION("all") {
    for (const int64_t base : {0, 4, 8}) REQUIRE(f.files.remove(f.segment_path(base)));
    end_offset = 1;
  }
  SECTION("one in the middle") { REQUIRE(f.files.remove(f.segment_path(4))); }
  SECTION("the end of one in the middle, between two batches") {
    f.files.content(f.segment_path(4)).resize(f.batch_bytes);
  }
  SECTION("all of one in the middle but its name") { f.files.content(f.segment_path(4)).clear(); }
  SECTION("the first") { REQUIRE(f.files.remove(f.segment_path(0))); }
  if (without_index) f.index = std::move(*OffsetIndex::open_in_memory());
  const auto before = f.files.paths();
  for (int start = 0; start < 2; ++start) {
    const auto refused = f.try_open();
    REQUIRE_FALSE(refused);
    INFO(refused.error().message);
    CHECK(refused.error().message.find("/accept-loss") != std::string::npos);
    CHECK(f.files.paths() == before);
  }
  const std::string acceptance = f.segment_path(0).substr(0, f.segment_path(0).rfind('/')) + "/accept-loss";
  REQUIRE(f.files.open(acceptance, OpenMode::kCreate));
  f.open();
  CHECK(f.log->log_end_offset() == end_offset);
  CHECK_FALSE(f.files.has(acceptance));
  // For good, whatever comes.
  CHECK(f.append(batch_of(1)).base_offset == end_offset);
  REQUIRE(f.log->flush());
  f.log.reset();
  f.files.crash();
  if (without_index) f.index = std::move(*OffsetIndex::open_in_memory());
  f.kill_and_open();
  CHECK(f.log->log_end_offset() == end_offset + 1);
  // What is left can be read from start to end.
  for (int64_t next = f.log->log_start_offset(); next < f.log->log_end_offset();) {
    const auto slice = f.log->read(next, f.log->log_end_offset(), 1, true);
    REQUIRE(slice);
    REQUIRE(slice->size > 0);
    next = protocol::peek_batch_header(f.bytes_of(*slice))->last_offset() + 1;
  }
}

TEST_CASE("A segment that is put back after its loss was accepted is read again") {
  ThreeSegments f;
  REQUIRE(f.log->delete_records(1));
  f.close_and_open();
  f.log.reset();
  const Buffer segment = f.files.content(f.segment_path(4));
  REQUIRE(f.files.remove(f.segment_path(4)));
  REQUIRE(f.files.open(f.options.directory + "/accept-loss", OpenMode::kCreate));
  f.open();
  f.kill_and_open();
  CHECK(f.files.content(f.segment_path(4)).size() < segment.size());
  const bool clean = GENERATE(false, true);
  if (clean) REQUIRE(f.log->close(kNow));
  f.log.reset();
  f.files.content(f.segment_path(4)) = segment;
  for (int start = 0; start < 2; ++start) {
    f.open(clean && start == 0);
    CHECK(f.report.notes.empty());
    CHECK(f.report.segments_scanned == (start == 0 ? 1 : 0));
    CHECK(f.readable().size() == 11);
    CHECK(f.log->log_end_offset() == 12);
    f.log.reset();
  }
}

TEST_CASE("A last segment that isn't the size it was closed with is read anew") {
  ThreeSegments f;
  REQUIRE(f.log->close(kNow));
  f.log.reset();
  // Another file, of which the summary tells nothing.
  Buffer& last = f.files.content(f.segment_path(8));
  const Buffer other = batch_of({kNow, kNow, kNow, kNow}, 200);
  REQUIRE(other.size() > last.size());
  last = other;
  protocol::set_base_offset(last, 8);
  for (int start = 0; start < 2; ++start) {
    f.open(start == 0);
    CHECK(f.report.damages.empty());
    CHECK(f.base_offsets() == Offsets{0, 1, 2, 3, 4, 5, 6, 7, 8});
    CHECK(f.log->log_end_offset() == 12);
    f.log.reset();
    f.files.crash();
  }
}

TEST_CASE("What retention and a moved start leave is no loss, with and without the index") {
  ThreeSegments f;
  f.options.config.retention_bytes = static_cast<int64_t>(5 * f.batch_bytes);
  f.log->set_config(f.options.config);
  const bool has_removed = GENERATE(false, true);
  const bool without_index = GENERATE(false, true);
  SECTION("retention") {
    REQUIRE(test::retain(*f.log, f.files, kNow, 12)->count() == 1);
    CHECK(f.log->log_start_offset() == 4);
  }
  SECTION("a moved start") {
    REQUIRE(f.log->delete_records(6));
    REQUIRE(test::retain(*f.log, f.files, kNow, 12)->count() == 1);
    CHECK(f.log->log_start_offset() == 6);
  }
  const int64_t start = f.log->log_start_offset();
  if (has_removed) REQUIRE(f.log->take_due_files(kNow).remove(f.files));
  CHECK(f.files.has(f.segment_path(0) + ".deleted") == !has_removed);
  for (int kill = 0; kill < 3; ++kill) {
    f.log.reset();
    f.files.crash();
    if (without_index) f.index = std::move(*OffsetIndex::open_in_memory());
    f.kill_and_open();
    CHECK(f.log->log_start_offset() == start);
    CHECK(f.log->log_end_offset() == 12);
    CHECK_FALSE(f.files.has(f.segment_path(0) + ".deleted"));
  }
  // What goes beyond that is one.
  f.log.reset();
  if (without_index) f.index = std::move(*OffsetIndex::open_in_memory());
  REQUIRE(f.files.remove(f.segment_path(4)));
  CHECK_FALSE(f.try_open());
}

TEST_CASE("What waits to be removed hides no segment that is missing") {
  ThreeSegments f;
  int64_t missing = 0;
  SECTION("what retention took") {
    f.options.config.retention_bytes = static_cast<int64_t>(5 * f.batch_bytes);
    f.log->set_config(f.options.config);
    REQUIRE(test::retain(*f.log, f.files, kNow, 12)->count() == 1);
    REQUIRE(f.log->log_start_offset() == 4);
    missing = 4;
  }
  SECTION("what compaction merged into the first") {
    REQUIRE(f.files.open(f.segment_path(2) + ".deleted", OpenMode::kCreate));
  }
  const bool clean = GENERATE(false, true);
  f.options.config.file_delete_delay_ms = 60'000;
  f.log->set_config(f.options.config);
  REQUIRE(f.log->delete_records(missing + 1));
  f.close_and_open();
  REQUIRE(f.log->close(kNow));
  f.log.reset();
  const std::string left = f.segment_path(missing == 0 ? 2 : 0) + ".deleted";
  if (!f.files.has(left)) REQUIRE(f.files.open(left, OpenMode::kCreate));
  REQUIRE(f.files.remove(f.segment_path(missing)));
  const auto opened = f.try_open(clean);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().message.find("is missing") != std::string::npos);
}

TEST_CASE("A first segment that is missing is a loss where no checkpoint was stored yet, too") {
  ThreeSegments f;
  const std::string checkpoint = f.options.directory + "/log-checkpoint";
  f.log.reset();
  f.index = std::move(*OffsetIndex::open_in_memory());
  if (f.files.has(checkpoint)) REQUIRE(f.files.remove(checkpoint));
  SECTION("a missing one") {
    REQUIRE(f.files.remove(f.segment_path(0)));
    const auto opened = f.try_open(false);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().message.find("offsets 0 to 3 were in segment files that are missing") !=
          std::string::npos);
  }
  SECTION("retention, which stores one before the file goes") {
    REQUIRE(f.files.rename(f.segment_path(0), f.segment_path(0) + ".deleted"));
    f.open(false);
    CHECK(f.log->log_start_offset() == 4);
    f.kill_and_open();
    CHECK(f.log->log_start_offset() == 4);
  }
}

TEST_CASE("A checkpoint that is gone after a clean stop is told: what was deleted may be back") {
  ThreeSegments f;
  f.log->set_config(f.options.config);
  REQUIRE(f.log->delete_records(2));
  REQUIRE(f.log->close(kNow));
  f.log.reset();
  REQUIRE(f.files.remove(f.options.directory + "/log-checkpoint"));
  f.open(true);
  REQUIRE(f.report.warnings.size() == 1);
  CHECK(f.report.warnings[0].find("/log-checkpoint is missing") != std::string::npos);
  f.close_and_open();
  CHECK(f.report.warnings.empty());
}

TEST_CASE("A checkpoint of before knows the start from the index only, after a clean stop") {
  ThreeSegments f;
  const std::string checkpoint = f.options.directory + "/log-checkpoint";
  f.close_and_open();
  REQUIRE(f.log->close(kNow));
  f.log.reset();
  const std::string text = "version 1\nlog_start_offset 0\nrecovery_point 12\njournal_floor 0 0\n";
  REQUIRE(replace_file(f.files, checkpoint, as_bytes(with_checksum(text))));
  REQUIRE(f.files.remove(f.segment_path(0)));
  SECTION("after a clean stop, and from then on") {
    CHECK_FALSE(f.try_open(true));
    CHECK_FALSE(f.try_open(false));
  }
  SECTION("after a kill it may have been retention") {
    f.open(false);
    CHECK(f.log->log_start_offset() == 4);
  }
}

TEST_CASE("On a full disk retention still gives space back, and what it left is no loss") {
  ThreeSegments f;
  f.options.config.retention_bytes = static_cast<int64_t>(5 * f.batch_bytes);
  f.log->set_config(f.options.config);
  REQUIRE(test::retain(*f.log, f.files, kNow, 12)->count() == 1);
  // Until a file was emptied.
  const std::string deleted = f.segment_path(0) + ".deleted";
  f.files.is_full = [&] { return f.files.has(deleted) && !f.files.content(deleted).empty(); };
  const bool at_start = GENERATE(false, true);
  if (at_start) {
    f.kill_and_open();
  } else {
    REQUIRE(f.log->take_due_files(kNow).remove(f.files));
  }
  CHECK_FALSE(f.files.has(deleted));
  f.log.reset();
  f.index = std::move(*OffsetIndex::open_in_memory());
  f.kill_and_open();
  CHECK(f.log->log_start_offset() == 4);
}

TEST_CASE("Garbage behind a segment's last batch hides no offset") {
  ThreeSegments f;
  f.log.reset();
  Buffer& content = f.files.content(f.segment_path(4));
  content.resize(content.size() + 7, std::byte{0x55});
  f.index = std::move(*OffsetIndex::open_in_memory());
  for (int start = 0; start < 2; ++start) {
    f.kill_and_open();
    CHECK(f.report.damages.empty());
    CHECK(f.log->damages().empty());
    REQUIRE_FALSE(f.report.notes.empty());
    CHECK(f.report.notes[0].find(f.segment_path(4)) != std::string::npos);
    CHECK(f.readable().size() == 12);
  }
}

TEST_CASE("Accepted damage of the last segment is cut off, and kept beside it") {
  ThreeSegments f;
  REQUIRE(f.log->delete_records(1));
  f.damage_records(5);
  f.damage_records(9);
  f.log.reset();
  f.index = std::move(*OffsetIndex::open_in_memory());
  REQUIRE_FALSE(f.try_open());
  REQUIRE(f.files.open(f.segment_path(0).substr(0, f.segment_path(0).rfind('/')) + "/accept-loss",
                       OpenMode::kCreate));
  f.open();
  CHECK(f.readable() == Offsets{1, 2, 3, 4, 6, 7, 8});
  CHECK(f.files.content(f.segment_path(8) + ".cut").size() == 3 * f.batch_bytes);
}

TEST_CASE("A flipped bit in a checkpoint deletes nothing") {
  ThreeSegments f;
  REQUIRE(f.log->delete_records(2));
  f.close_and_open();
  f.log.reset();
  Buffer& checkpoint =
      f.files.content(f.segment_path(0).substr(0, f.segment_path(0).rfind('/')) + "/log-checkpoint");
  const size_t at = as_text(checkpoint).find("log_start_offset 2") + 17;
  // 2 becomes 3, 0 or 6.
  checkpoint[at] ^= GENERATE(std::byte{1}, std::byte{2}, std::byte{4});
  f.open(true);
  REQUIRE_FALSE(f.report.warnings.empty());
  CHECK(f.report.warnings[0].find("log-checkpoint") != std::string::npos);
  CHECK(f.readable().size() == 12);
}

TEST_CASE("An empty segment file that doesn't follow the log is no part of it") {
  ThreeSegments f;
  f.log.reset();
  const int64_t base_offset =
      GENERATE(int64_t{13}, int64_t{5'000'000'000'000}, std::numeric_limits<int64_t>::max());
  REQUIRE(f.files.open(f.segment_path(base_offset), OpenMode::kCreate));
  f.kill_and_open();
  CHECK(f.log->log_end_offset() == 12);
  CHECK(f.append(batch_of(1)).base_offset == 12);
  CHECK_FALSE(f.files.has(f.segment_path(base_offset)));
}

TEST_CASE("What a crash leaves of a retention run is no loss") {
  ThreeSegments f;
  f.close_and_open();
  f.log.reset();
  // The second file's new name came to the disk, the first one's didn't.
  REQUIRE(f.files.rename(f.segment_path(4), f.segment_path(4) + ".deleted"));
  REQUIRE(f.files.sync_directory(f.segment_path(0).substr(0, f.segment_path(0).rfind('/'))));
  for (int start = 0; start < 2; ++start) {
    f.kill_and_open();
    // The run is finished: it takes the oldest ones first.
    CHECK(f.log->segment_count() == 1);
    CHECK(f.log->log_start_offset() == 8);
    CHECK(f.log->log_end_offset() == 12);
  }
}

TEST_CASE("A restored file is served again from the next start on, and damage is found again until then") {
  ThreeSegments f;
  f.damage_records(5);
  f.log.reset();
  f.index = std::move(*OffsetIndex::open_in_memory());
  f.kill_and_open();
  f.close_and_open();
  CHECK(f.report.damages.size() == 1);
  f.damage_records(5);  // the same bit: as it was
  f.close_and_open();
  CHECK(f.report.damages.empty());
  CHECK(f.readable().size() == 12);
  f.close_and_open();
  CHECK(f.report.segments_scanned == 0);
}

}  // namespace
}  // namespace millrace::storage
