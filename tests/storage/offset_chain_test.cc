#include "storage/offset_chain.h"

#include <catch2/catch.hpp>
#include <limits>

namespace millrace::storage {
namespace {

protocol::BatchHeader batch_at(int64_t base_offset, int32_t last_offset_delta = 0) {
  protocol::BatchHeader header;
  header.base_offset = base_offset;
  header.last_offset_delta = last_offset_delta;
  return header;
}

TEST_CASE("Without holes each batch begins where the one before ends") {
  OffsetChain chain(10, std::nullopt, false);
  CHECK(chain.damage(batch_at(10, 4)).empty());
  chain.pass(batch_at(10, 4));
  CHECK(chain.due() == 15);
  CHECK(chain.damage(batch_at(15)).empty());
  CHECK_FALSE(chain.damage(batch_at(14)).empty());
  CHECK_FALSE(chain.damage(batch_at(16)).empty());
  // Behind one of which nothing is known, any may come.
  chain.skip();
  CHECK(chain.damage(batch_at(16)).empty());
  CHECK_FALSE(chain.damage(batch_at(14)).empty());
  chain.pass(batch_at(20));
  CHECK_FALSE(chain.damage(batch_at(22)).empty());
  chain.pass_as_due(batch_at(999, 2));
  CHECK(chain.due() == 24);
}

TEST_CASE("With holes offsets ascend, within the segment") {
  OffsetChain chain(10, 100, true);
  CHECK(chain.damage(batch_at(50, 4)).empty());
  chain.pass(batch_at(50, 4));
  CHECK_FALSE(chain.damage(batch_at(54)).empty());
  CHECK(chain.damage(batch_at(70)).empty());
  // The next segment may be one that is to go.
  CHECK(chain.damage(batch_at(120)).empty());
  chain.limit_to(100);
  CHECK(chain.damage(batch_at(90, 9)).empty());
  CHECK_FALSE(chain.damage(batch_at(90, 10)).empty());
  CHECK_FALSE(chain.damage(batch_at(100)).empty());
}

TEST_CASE("Offsets that no segment reaches, and deltas below zero, are damage") {
  const bool may_have_holes = GENERATE(true, false);
  const OffsetChain chain(10, std::nullopt, may_have_holes);
  CHECK_FALSE(chain.damage(batch_at(int64_t{1} << 62)).empty());
  CHECK_FALSE(chain.damage(batch_at(std::numeric_limits<int64_t>::max(), 7)).empty());
  CHECK_FALSE(chain.damage(batch_at(std::numeric_limits<int64_t>::min())).empty());
  CHECK_FALSE(chain.damage(batch_at(10, -1)).empty());
  CHECK(chain.damage(batch_at(10, OffsetChain::kFurthest)).empty());
  // As far as a segment whose file has the greatest name there can be.
  const int64_t last = std::numeric_limits<int64_t>::max();
  OffsetChain at_the_end(last - 1, std::nullopt, may_have_holes);
  CHECK_FALSE(at_the_end.damage(batch_at(last - 1, 5)).empty());
  at_the_end.pass_as_due(batch_at(0, 5));
  CHECK(at_the_end.due() == last);
}

TEST_CASE("What follows a batch proves where it belongs, or doesn't") {
  OffsetChain chain(10, 12, false);
  const auto next = batch_at(12);
  const auto other = batch_at(13);
  CHECK(chain.is_proven_by(batch_at(500, 1), &next));
  CHECK_FALSE(chain.is_proven_by(batch_at(500, 1), &other));
  CHECK(chain.is_proven_by(batch_at(500, 1), nullptr));
  CHECK_FALSE(chain.is_proven_by(batch_at(500, 0), nullptr));
  CHECK_FALSE(chain.is_proven_by(batch_at(500, -1), &next));
  CHECK_FALSE(OffsetChain(10, std::nullopt, false).is_proven_by(batch_at(500, 1), nullptr));
  CHECK_FALSE(OffsetChain(10, 12, true).is_proven_by(batch_at(500, 1), &next));
  chain.skip();
  CHECK_FALSE(chain.is_proven_by(batch_at(500, 1), &next));
}

}  // namespace
}  // namespace millrace::storage
