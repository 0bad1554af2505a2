#include "broker/net/request.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::net;

TEST_CASE("what a request has copied of its frame stays charged when the frame goes, and what is reserved") {
  runtime::MemoryBudget budget(1000);
  {
    Request request;
    request.budget = &budget;
    REQUIRE(budget.try_acquire(request.memory.lease, 100));
    REQUIRE(request.memory.reserve(100));
    request.memory.commit(100);
    request.frame = request.memory.bytes();
    REQUIRE(budget.try_acquire(request.memory.lease, 20));
    request.reserved_bytes = 20;
    CHECK(budget.used() == 120);
    request.release_frame(30);
    CHECK(request.frame.empty());
    CHECK(request.memory.capacity() == 0);
    CHECK(budget.used() == 50);
    request.release_frame(1000);  // never more than there was
    CHECK(budget.used() == 50);
    request.release_frame();
    CHECK(budget.used() == 20);
    request.shrink_reserved(0);
    CHECK(budget.used() == 0);
  }
  CHECK(budget.used() == 0);
}
