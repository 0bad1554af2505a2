#include "broker/replication/fetch_session.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::replication;

namespace {

FetchWish wish(const char* topic, int32_t partition, int64_t offset = 0) {
  return {.target = {.topic = topic, .partition = partition}, .fetch_offset = offset, .max_bytes = 1 << 20};
}

FetchAnswer answer(const char* topic, int32_t partition, int64_t high_watermark, size_t bytes = 0) {
  return {.target = {.topic = topic, .partition = partition},
          .high_watermark = high_watermark,
          .log_start_offset = 0,
          .record_bytes = bytes};
}

}  // namespace

TEST_CASE("a session continues with the next epoch only", "[fetch_session]") {
  FetchSessionCache cache(1, 4, 10);
  FetchSession* session = cache.create({wish("t", 0)}, false, 7, 0);
  REQUIRE(session != nullptr);
  CHECK(session->id() > 0);
  CHECK(session->id() % 4 == 1);

  ErrorCode error;
  CHECK(cache.resume(session->id(), 1, false, 0, &error) == session);
  CHECK(cache.resume(session->id(), 1, false, 0, &error) == nullptr);
  CHECK(error == ErrorCode::kInvalidFetchSessionEpoch);
  CHECK(cache.resume(session->id(), 2, true, 0, &error) == nullptr);
  CHECK(error == ErrorCode::kFetchSessionTopicIdError);
  CHECK(cache.resume(session->id() + 4, 1, false, 0, &error) == nullptr);
  CHECK(error == ErrorCode::kFetchSessionIdNotFound);
}

TEST_CASE("only what changed is answered", "[fetch_session]") {
  FetchSession session(1, false, 0);
  session.update({wish("t", 0), wish("t", 1)});
  CHECK(session.note_answer(answer("t", 0, 5)));
  CHECK_FALSE(session.note_answer(answer("t", 0, 5)));
  CHECK(session.note_answer(answer("t", 0, 6)));
  CHECK(session.note_answer(answer("t", 0, 6, 100)));

  FetchAnswer failed = answer("t", 0, 6);
  failed.error = ErrorCode::kNotLeaderOrFollower;
  CHECK(session.note_answer(failed));
  CHECK(session.note_answer(answer("t", 0, 6)));
  CHECK_FALSE(session.note_answer(answer("t", 0, 6)));
}

TEST_CASE("a partition that delivered goes behind the others", "[fetch_session]") {
  FetchSession session(1, false, 0);
  session.update({wish("t", 0), wish("t", 1), wish("t", 2)});
  session.note_answer(answer("t", 0, 5, 100));
  const auto order = session.due_wishes();
  REQUIRE(order.size() == 3);
  CHECK(order[0].target.partition == 1);
  CHECK(order[2].target.partition == 0);
}

TEST_CASE("partitions can be added, moved and forgotten", "[fetch_session]") {
  FetchSession session(1, false, 0);
  session.update({wish("t", 0), wish("t", 1)});
  session.update({wish("t", 0, 42), wish("u", 0)});
  session.forget({{.topic = "t", .partition = 1}, {.topic = "absent", .partition = 0}});
  const auto wishes = session.due_wishes();
  REQUIRE(wishes.size() == 2);
  CHECK(wishes[0].fetch_offset == 42);
  CHECK(wishes[1].target.topic == "u");
  CHECK_FALSE(session.note_answer(answer("t", 1, 9, 10)));
}

TEST_CASE("a full cache refuses newcomers until a session is stale or smaller", "[fetch_session]") {
  FetchSessionCache cache(0, 1, 2);
  const int32_t first = cache.create({wish("t", 0)}, false, 1, 0)->id();
  const int32_t second = cache.create({wish("t", 0), wish("t", 1)}, false, 1, 0)->id();
  CHECK(first != second);
  CHECK(cache.create({wish("t", 0)}, false, 3, 1000) == nullptr);

  ErrorCode error;
  cache.resume(first, 1, false, 100'000, &error);
  cache.resume(second, 1, false, 110'000, &error);
  // Both were used lately, but the first is older than two minutes and smaller than the newcomer.
  CHECK(cache.create({wish("t", 0), wish("t", 1)}, false, 9, 121'000) != nullptr);
  CHECK(cache.find(first) == nullptr);
  CHECK(cache.find(second) != nullptr);
  CHECK(cache.size() == 2);
}

namespace {

// As a fetch that has read all that is due and found nothing of it.
std::vector<int32_t> read_due(FetchSession& session, int64_t high_watermark, bool send) {
  std::vector<int32_t> partitions;
  for (const FetchWish& due : session.due_wishes()) {
    FetchAnswer found = answer("t", due.target.partition, high_watermark);
    found.number = due.number;
    found.round = due.round;
    found.watched_at_end = true;
    if (send) {
      session.note_answer(found);
    } else {
      session.note_unsent(found);
    }
    partitions.push_back(due.target.partition);
  }
  return partitions;
}

using Partitions = std::vector<int32_t>;

}  // namespace

TEST_CASE("partitions of which the client knows all rest until they move or are asked for again",
          "[fetch_session]") {
  FetchSession session(1, false, 0);
  session.update({wish("t", 0), wish("t", 1), wish("t", 2)});
  CHECK(read_due(session, 0, true) == Partitions{0, 1, 2});
  const auto number = [&](int32_t partition) { return static_cast<uint32_t>(partition); };
  CHECK(read_due(session, 0, true).empty());
  session.watch()->signal(number(1));
  CHECK(read_due(session, 0, true) == Partitions{1});
  session.update({wish("t", 2, 5)});
  CHECK(read_due(session, 0, true) == Partitions{2});
  CHECK(session.due_wishes().empty());
}

TEST_CASE("a partition with news rests only when the client was told", "[fetch_session]") {
  FetchSession session(1, false, 0);
  session.update({wish("t", 0)});
  CHECK(read_due(session, 5, false) == Partitions{0});
  CHECK(read_due(session, 5, true) == Partitions{0});
  CHECK(session.due_wishes().empty());
}

TEST_CASE("an answer of before the partition moved doesn't let it rest", "[fetch_session]") {
  FetchSession session(1, false, 0);
  session.update({wish("t", 0)});
  read_due(session, 5, true);
  session.update({wish("t", 0, 5)});
  const FetchWish early = session.due_wishes().at(0);
  session.watch()->signal(early.number);
  session.due_wishes();
  FetchAnswer late = answer("t", 0, 5);
  late.number = early.number;
  late.round = early.round;
  late.watched_at_end = true;
  session.note_unsent(late);
  CHECK(session.due_wishes().size() == 1);
}

TEST_CASE("what is partly read, fails or isn't watched never rests", "[fetch_session]") {
  FetchSession session(1, false, 0);
  session.update({wish("t", 0)});
  FetchAnswer found = answer("t", 0, 5, 100);
  session.note_answer(found);
  session.note_answer(answer("t", 0, 5));
  CHECK(session.due_wishes().size() == 1);
  found = answer("t", 0, 5);
  found.error = ErrorCode::kKafkaStorageError;
  found.watched_at_end = true;
  session.note_answer(found);
  CHECK(session.due_wishes().size() == 1);
}

TEST_CASE("the number of a forgotten partition tells nothing of its successor", "[fetch_session]") {
  FetchSession session(1, false, 0);
  session.update({wish("t", 0), wish("t", 1)});
  read_due(session, 5, true);
  session.forget({{.topic = "t", .partition = 0}});
  session.watch()->signal(0);
  CHECK(session.due_wishes().empty());
  session.update({wish("t", 2)});
  CHECK(read_due(session, 5, true) == Partitions{2});
  session.watch()->signal(0);
  CHECK(read_due(session, 5, true) == Partitions{2});
}
