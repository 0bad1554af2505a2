#include "tools/latency_histogram.h"

#include <catch2/catch.hpp>

using millrace::tools::LatencyHistogram;

TEST_CASE("percentiles are within a bucket of the truth") {
  LatencyHistogram histogram;
  CHECK(histogram.percentile_us(0.5) == 0);
  for (int64_t i = 1; i <= 100'000; ++i) histogram.add(i);
  for (const double part : {0.5, 0.95, 0.99, 0.999}) {
    const double expected = part * 100'000;
    const auto got = static_cast<double>(histogram.percentile_us(part));
    CHECK(got >= expected);
    CHECK(got <= expected * (1 + 1.0 / 64) + 1);
  }
  CHECK(histogram.percentile_us(1) == 100'000);
  CHECK(histogram.max_us() == 100'000);
  CHECK(histogram.mean_us() == Approx(50'000.5));
}

TEST_CASE("small values are exact, records count each") {
  LatencyHistogram histogram;
  histogram.add(3, 99);
  histogram.add(100, 1);
  CHECK(histogram.count() == 100);
  CHECK(histogram.percentile_us(0.99) == 3);
  CHECK(histogram.percentile_us(0.991) == 100);
}

TEST_CASE("values beyond the last bucket count there") {
  LatencyHistogram histogram;
  histogram.add(INT64_MAX);
  histogram.add(-5);
  CHECK(histogram.max_us() == int64_t{1} << 40);
  CHECK(histogram.percentile_us(0.5) == 0);
}
