-- The tables of a report (docs/report.md), from the tables `events` and `runs` of a Store.
-- Variables: camera ('' for all), classes (empty for all), vehicles, factor (of m/s), unit, zone, every (seconds, 0: chosen
-- here), cell. A column `start` is that of an interval; NULL: the whole time. Times are UTC.

CREATE OR REPLACE MACRO local_time(t) AS timezone(getvariable('zone'), t AT TIME ZONE 'UTC');
CREATE OR REPLACE MACRO utc_time(t) AS timezone('UTC', timezone(getvariable('zone'), t));

CREATE OR REPLACE TABLE spans AS  -- each run: from its start (of a clock that was set) to its last event
SELECT e.camera, e.run, least(any_value(try_cast(r.start_utc AS TIMESTAMP)) FILTER (e.utc - try_cast(r.start_utc AS TIMESTAMP)
    < INTERVAL 100 DAY), min(e.utc)) AS a, max(e.utc) AS b
FROM events e LEFT JOIN runs r USING (run) WHERE getvariable('camera') IN ('', e.camera) GROUP BY e.camera, e.run;

CREATE OR REPLACE TABLE slots AS  -- intervals from local midnight on; a day on which the clocks change has more or fewer
WITH c AS (SELECT min(a) AS a, max(b) AS b, if(getvariable('every') > 0, getvariable('every'), coalesce((SELECT min(s) FROM (
        SELECT unnest([10, 60, 300, 900, 3600, 86400]) AS s) WHERE s > epoch(max(b) - min(a)) / 170), 86400))::INT AS every
        FROM spans),
    d AS (SELECT unnest(generate_series(date_trunc('day', local_time(a)), date_trunc('day', local_time(b)),
        to_days(greatest(1, every // 86400)))) AS day, a, b, every FROM c),
    s AS (SELECT unnest(generate_series(utc_time(day), utc_time(day + to_days(greatest(1, every // 86400)))
        - INTERVAL 1 SECOND, to_seconds(if(every < 86400, every, 1000000000)))) AS utc, a, b FROM d),
    n AS (SELECT utc, coalesce(lead(utc) OVER (ORDER BY utc), utc_time((SELECT max(day) + to_days(greatest(1, any_value(every)
        // 86400)) FROM d))) AS until, a, b FROM s)
SELECT utc, utc AS start, until, row_number() OVER (ORDER BY utc) - 1 AS number FROM n WHERE until > a AND utc <= b;

CREATE OR REPLACE TABLE away AS  -- times within runs in which nothing was observed
SELECT camera, run, utc AS a, coalesce(until, b) AS b, replace(kind, '-', ' ') AS reason FROM (
    SELECT *, lead(utc) OVER (PARTITION BY run, split_part(kind, '-', 1) ORDER BY utc, id) AS until FROM events
    WHERE kind SIMILAR TO '(stream|image|camera)-.*') JOIN spans USING (camera, run)
WHERE kind IN ('stream-lost', 'image-unusable', 'camera-moved');

CREATE OR REPLACE TABLE e AS  -- the events of interest, each in its interval
SELECT camera, run, kind, events.utc, place, track, class_name, direction, seconds, count, speed_reason, box, first_box,
    speed_mps * getvariable('factor') AS v, speed_sigma_mps * getvariable('factor') AS s, start,
    coalesce(list_contains(getvariable('vehicles'), lower(class_name)), false) AS vehicle
FROM events ASOF JOIN slots ON events.utc >= slots.utc
WHERE getvariable('camera') IN ('', camera) AND kind NOT SIMILAR TO 'verdict.*|track-speed'
    AND (len(getvariable('classes')) = 0 OR list_contains(getvariable('classes'), class_name));

CREATE OR REPLACE TABLE observed AS  -- a run observes, and is not away
SELECT camera, t AS a, until AS b, runs FROM (
    SELECT camera, t, sum(run) OVER w AS runs, sum(off) OVER w AS off, lead(t) OVER w AS until FROM (
        SELECT camera, unnest([a, b]) AS t, unnest([1, -1]) AS run, 0 AS off FROM spans UNION ALL
        SELECT camera, unnest([a, b]), 0, unnest([1, -1]) FROM away)
    WINDOW w AS (PARTITION BY camera ORDER BY t, off, run ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))
WHERE runs > 0 AND off <= 0 AND until > t;

CREATE OR REPLACE TABLE gaps AS
SELECT g.camera, g.a AS start, any_value(g.b) AS "end", epoch(any_value(g.b)) - epoch(g.a) AS seconds,
    coalesce(string_agg(DISTINCT reason, ', ' ORDER BY reason), 'no run') AS reason
FROM (SELECT camera, lag(b) OVER (PARTITION BY camera ORDER BY a) AS a, a AS b FROM observed) g
    LEFT JOIN away w ON w.camera = g.camera AND w.a < g.b AND w.b > g.a
WHERE g.b - g.a >= INTERVAL 1 SECOND GROUP BY g.camera, g.a ORDER BY ALL;

CREATE OR REPLACE TABLE coverage AS  -- the share of an interval that was observed
WITH c AS (SELECT camera, min(a) AS a, max(b) AS b FROM spans GROUP BY camera),
    t AS (SELECT camera, start, utc, until FROM c, slots UNION ALL SELECT camera, NULL, a, b FROM c)
SELECT t.camera, start, utc AS a, until AS b, coalesce(sum(epoch(least(o.b, until)) - epoch(greatest(o.a, utc))) FILTER (o.a IS NOT NULL), 0)
    / (epoch(until) - epoch(utc)) AS observed
FROM t LEFT JOIN observed o ON o.camera = t.camera AND o.a < until AND o.b > utc GROUP BY t.camera, start, utc, until;

CREATE OR REPLACE TABLE counts AS  -- a line that is NULL: all tracks; a crossing has the class of its track in the end
WITH ended AS (SELECT camera, run, track, any_value(class_name) AS last FROM e WHERE kind = 'track-ended' GROUP BY ALL)
SELECT camera, start, place AS line, direction, class_name AS "class", count(*) AS count FROM (
    SELECT camera, start, place, direction, coalesce(last, class_name) AS class_name
        FROM e LEFT JOIN ended USING (camera, run, track) WHERE kind = 'cross' UNION ALL
    SELECT camera, start, NULL, NULL, class_name FROM e WHERE kind = 'track-ended')
GROUP BY GROUPING SETS ((camera, start, line, direction, "class"), (camera, line, direction, "class")) ORDER BY ALL;

CREATE OR REPLACE TABLE measured AS  -- tracks by the groups that they belong to
WITH t AS (SELECT camera, run, track, start, class_name, v, s, speed_reason, vehicle FROM e WHERE kind = 'track-ended'
        AND camera IN (SELECT camera FROM e WHERE v IS NOT NULL OR speed_reason IS NOT NULL)
        AND (vehicle OR camera NOT IN (SELECT camera FROM e WHERE vehicle))),
    x AS (SELECT DISTINCT run, track, place || ' ' || direction AS line FROM e WHERE kind = 'cross')
SELECT *, 'all' AS part FROM t UNION ALL SELECT *, class_name FROM t UNION ALL
SELECT t.*, line FROM t JOIN x USING (run, track);

-- Order statistics between which the quantile p of what n values were drawn from lies, at least 95 times of 100.
CREATE OR REPLACE MACRO low_rank(n, p) AS floor(n * p - 1.959964 * sqrt(n * p * (1 - p)) + 0.5)::INT;
CREATE OR REPLACE MACRO high_rank(n, p) AS ceil(n * p + 1.959964 * sqrt(n * p * (1 - p)) + 0.5)::INT;
CREATE OR REPLACE MACRO bounded(x, low, high, shared) AS  -- value, standard error, interval: of the sample, and of what
    if(low IS NULL OR high IS NULL, NULL, {'x': x, 'se': (sqrt((x - low) ** 2 + shared ** 2)  -- all speeds share
    + sqrt((high - x) ** 2 + shared ** 2)) / 2 / 1.959964, 'low': x - sqrt((x - low) ** 2 + shared ** 2),
    'high': x + sqrt((high - x) ** 2 + shared ** 2)});

CREATE OR REPLACE TABLE speeds AS  -- NULL where there are too few
WITH q AS (SELECT camera, start, part, count(*) AS tracks, count(v) AS n, list(v ORDER BY v) FILTER (v IS NOT NULL)
        AS l, quantile_cont(v, 0.5) AS v50, quantile_cont(v, 0.85) AS v85, 1.959964 * coalesce(median(s), 0) AS shared
    FROM measured GROUP BY GROUPING SETS ((camera, start, part), (camera, part))),
    b AS (SELECT *, bounded(v50, if(low_rank(n, 0.5) < 1, NULL, l[low_rank(n, 0.5)]), l[high_rank(n, 0.5)], shared) AS m,
        bounded(v85, if(low_rank(n, 0.85) < 1, NULL, l[low_rank(n, 0.85)]), l[high_rank(n, 0.85)], shared) AS h FROM q)
SELECT camera, start, part, tracks, n AS measured, 1 - n / tracks AS abstained, m.x AS v50, m.se AS v50_se, m.low AS
    v50_low, m.high AS v50_high, h.x AS v85, h.se AS v85_se, h.low AS v85_low, h.high AS v85_high FROM b ORDER BY ALL;

CREATE OR REPLACE TABLE no_speed AS
SELECT camera, start, coalesce(speed_reason, 'not in the calibrated region') AS reason, count(*) AS tracks FROM measured
WHERE v IS NULL AND part = 'all' GROUP BY GROUPING SETS ((camera, start, reason), (camera, reason)) ORDER BY ALL;

CREATE OR REPLACE TABLE held AS  -- seconds for which a zone held n objects; a run begins with none
WITH d AS (SELECT camera, run, place, utc, if(kind = 'enter', 1, -1) AS d, 0 AS off FROM e WHERE kind IN ('enter', 'leave')),
    p AS (SELECT DISTINCT camera, place FROM d),
    m AS (FROM d UNION ALL
        SELECT camera, run, place, greatest(slots.utc, a), 0, 0 FROM p JOIN spans USING (camera)
            JOIN slots ON slots.utc < b AND slots.until > a UNION ALL
        SELECT camera, run, place, unnest([a, b]), 0, unnest([1, -1]) FROM p JOIN away USING (camera)),
    n AS (SELECT *, sum(d) OVER w AS n, sum(off) OVER w AS off_now, lead(utc) OVER w AS next FROM m WINDOW w AS (
        PARTITION BY camera, run, place ORDER BY utc, d DESC, off ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))
SELECT camera, start, place, greatest(n, 0)::INT AS n, sum(epoch(coalesce(next, b)) - epoch(n.utc)) AS seconds
FROM n JOIN spans USING (camera, run) ASOF JOIN slots ON n.utc >= slots.utc WHERE off_now <= 0
GROUP BY GROUPING SETS ((camera, start, place, n), (camera, place, n)) HAVING seconds > 0;

CREATE OR REPLACE TABLE zones AS
WITH s AS (SELECT camera, start, place, count(*) FILTER (kind = 'enter') AS entered, avg(seconds) FILTER (kind = 'leave') AS
        mean, quantile_cont(seconds, [0.5, 0.95]) FILTER (kind = 'leave') AS q, max(seconds) FILTER (kind = 'leave') AS most
    FROM e WHERE kind IN ('enter', 'leave') GROUP BY GROUPING SETS ((camera, start, place), (camera, place))),
    h AS (SELECT *, sum(seconds) OVER (PARTITION BY camera, start, place ORDER BY n) / sum(seconds) OVER (
        PARTITION BY camera, start, place) AS passed FROM held),
    o AS (SELECT camera, start, place, sum(n * seconds) / sum(seconds) AS mean, min(n) FILTER (passed >= 0.95) AS p95,
        max(n) AS most FROM h GROUP BY ALL)
SELECT o.camera, o.start, o.place AS zone, coalesce(entered, 0) AS entered, s.mean AS stay_mean, q[1] AS stay_median,
    q[2] AS stay_p95, s.most AS stay_max, o.mean AS inside_mean, p95 AS inside_p95, o.most AS inside_max
FROM o LEFT JOIN s ON s.camera = o.camera AND s.place = o.place AND s.start IS NOT DISTINCT FROM o.start ORDER BY ALL;

CREATE OR REPLACE TABLE ways AS  -- first and last place (zone entered, line crossed) of a track; NULL: only one
SELECT camera, class_name AS "class", "from", if(places > 1, "to", NULL) AS "to", count(*) AS count FROM (
    SELECT camera, any_value(class_name) AS class_name, arg_min(place, utc) AS "from", arg_max(place, utc) AS "to",
        count(DISTINCT place) AS places
    FROM e WHERE kind IN ('cross', 'enter') AND track IS NOT NULL GROUP BY camera, run, track) GROUP BY ALL ORDER BY ALL;

CREATE OR REPLACE TABLE standstills AS  -- from when an object stands still until it leaves the zone
SELECT s.camera, s.utc - to_milliseconds((s.seconds * 1000)::BIGINT) AS a, coalesce(min(l.utc), any_value(b)) AS b, s.place,
    s.class_name || ' ' || s.track AS what
FROM e s JOIN spans USING (camera, run) LEFT JOIN e l ON l.kind = 'leave' AND l.run = s.run AND l.track = s.track
    AND l.place = s.place AND l.utc >= s.utc
WHERE s.kind = 'stopped' GROUP BY s.camera, s.utc, s.seconds, s.place, s.class_name, s.track;

CREATE OR REPLACE TABLE queues AS  -- three or more at rest in a zone
WITH q AS (SELECT *, sum(d) OVER w AS n, lead(t) OVER w AS until FROM (
        SELECT camera, place, unnest([a, b]) AS t, unnest([1, -1]) AS d FROM standstills) WINDOW w AS (
        PARTITION BY camera, place ORDER BY t, d DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
    g AS (SELECT *, sum((n < 3)::INT) OVER (PARTITION BY camera, place ORDER BY t, d DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS part FROM q)
SELECT camera, min(t) AS a, max(until) AS b, place, 'up to ' || max(n) || ' at rest' AS what FROM g WHERE n >= 3
GROUP BY camera, place, part;

CREATE OR REPLACE TABLE crowds AS  -- more than a zone's max_occupancy, again within a minute
WITH c AS (SELECT *, coalesce(lead(utc) OVER w, b) AS until FROM e JOIN spans USING (camera, run)
        WHERE kind LIKE 'occupancy-%' WINDOW w AS (PARTITION BY camera, run, place ORDER BY utc)),
    l AS (SELECT *, utc - lag(until) OVER w > INTERVAL 1 MINUTE AS later FROM c WHERE kind = 'occupancy-above'
        WINDOW w AS (PARTITION BY camera, place ORDER BY utc))
SELECT camera, min(utc) AS a, max(until) AS b, place, 'above its limit, ' || max(count) || ' or more inside' AS what FROM (
    SELECT *, sum(coalesce(later, false)::INT) OVER (PARTITION BY camera, place ORDER BY utc) AS part FROM l)
GROUP BY camera, place, part;

CREATE OR REPLACE TABLE hours AS  -- whole hours, with the tracks that ended in them
WITH h AS (SELECT camera, unnest(generate_series(date_trunc('hour', min(a)) + INTERVAL 1 HOUR, max(b) - INTERVAL 1 HOUR,
        INTERVAL 1 HOUR)) AS h FROM spans GROUP BY camera),
    w AS (SELECT h.camera, h FROM h JOIN observed o ON o.camera = h.camera AND o.a < h + INTERVAL 1 HOUR AND o.b > h
        GROUP BY ALL HAVING sum(epoch(least(o.b, h + INTERVAL 1 HOUR)) - epoch(greatest(o.a, h))) >= 3420)
SELECT w.camera, h, local_time(h) AS local, count(e.utc) AS n,
    if(count(v) < 10, NULL, median(v)) AS v
FROM w LEFT JOIN e ON e.kind = 'track-ended' AND e.camera = w.camera AND date_trunc('hour', e.utc) = h GROUP BY ALL;

CREATE OR REPLACE TABLE unusual AS  -- far from the same hour of three or more other days of work, or of weekends
WITH u AS (SELECT x.camera, x.h, x.n, x.v, median(o.n) AS n_usual, mad(o.n) AS n_mad, median(o.v) AS v_usual,
        mad(o.v) AS v_mad, count(o.v) AS known FROM hours x JOIN hours o ON o.camera = x.camera AND o.h <> x.h
        AND hour(o.local) = hour(x.local) AND (isodow(o.local) > 5) = (isodow(x.local) > 5)
    GROUP BY ALL HAVING count(*) >= 3)
SELECT camera, h AS a, h + INTERVAL 1 HOUR AS b, NULL AS place, n || ' tracks, usually ' || n_usual::INT AS what FROM u
WHERE abs(n - n_usual) > 4 * sqrt((1.4826 * n_mad) ** 2 + greatest(n_usual, 1)) UNION ALL
SELECT camera, h, h + INTERVAL 1 HOUR, NULL, printf('median %.0f, usually %.0f', v, v_usual) FROM u
WHERE known >= 3 AND abs(v - v_usual) > 4 * sqrt((1.4826 * v_mad) ** 2 + (0.05 * v_usual) ** 2);

CREATE OR REPLACE TABLE incidents AS
WITH i AS (SELECT 'standstill' AS kind, * FROM standstills UNION ALL SELECT 'queue', * FROM queues UNION ALL
    SELECT 'crowded', * FROM crowds UNION ALL SELECT 'unusual', * FROM unusual UNION ALL
    SELECT 'wrong way', camera, utc, utc, place, class_name || ' ' || track FROM e WHERE kind = 'wrong-way')
SELECT camera, a AS start, b AS "end", epoch(b) - epoch(a) AS seconds, kind, place, what FROM i ORDER BY ALL;

CREATE OR REPLACE TABLE steps AS  -- straight ways from each box of a track's events to the next, on the image
WITH p AS (SELECT camera, run, track, utc, box FROM e WHERE track IS NOT NULL AND box IS NOT NULL UNION ALL
        SELECT camera, run, track, utc - to_milliseconds((seconds * 1000)::BIGINT), first_box FROM e
        WHERE kind = 'track-ended' AND first_box IS NOT NULL),
    s AS (SELECT camera, (box[1] + box[3]) / 2 AS x, box[4] AS y, lead((box[1] + box[3]) / 2) OVER w AS x2,
        lead(box[4]) OVER w AS y2, epoch(lead(utc) OVER w) - epoch(utc) AS seconds FROM p
    WINDOW w AS (PARTITION BY run, track ORDER BY utc)),
    n AS (SELECT *, least(greatest(ceil(greatest(abs(x2 - x), abs(y2 - y)) / getvariable('cell')), 1), 500)::INT AS n
    FROM s WHERE seconds > 0),
    u AS (SELECT *, (unnest(range(n)) + 0.5) / n AS k FROM n)
SELECT camera, floor((x + k * (x2 - x)) / getvariable('cell'))::INT AS x, floor((y + k * (y2 - y)) / getvariable('cell'))::INT
    AS y, sum(seconds / n) AS seconds FROM u GROUP BY 1, 2, 3;

CREATE OR REPLACE TABLE plots AS  -- values, their bands and their kind by title, series and interval
WITH p AS (
    SELECT camera, coalesce(line, 'all tracks') AS title, 'bars' AS kind, coalesce(direction, 'tracks') AS series, start,
        sum(count) AS v, NULL AS low, NULL AS high, line IS NULL AS last FROM counts WHERE start IS NOT NULL GROUP BY ALL UNION ALL
    SELECT camera, 'Speed', 'bands', unnest(['V50', 'V85']), start, unnest([v50, v85]), unnest([v50_low, v85_low]),
        unnest([v50_high, v85_high]), true FROM speeds WHERE part = 'all' AND start IS NOT NULL UNION ALL
    SELECT camera, 'inside ' || zone, 'steps', unnest(['mean', 'most']), start, unnest([inside_mean, inside_max]), NULL, NULL,
        true FROM zones WHERE start IS NOT NULL)
SELECT p.* EXCLUDE (start, last), number FROM p JOIN slots USING (start)
WHERE v IS NOT NULL ORDER BY camera, last, title, series, number;

CREATE OR REPLACE MACRO changes() AS (SELECT count(DISTINCT date_diff('minute', start, local_time(start))) > 1 FROM slots);
CREATE OR REPLACE MACRO offset_text(t) AS printf('%+03d:%02d', date_diff('minute', t, local_time(t)) // 60,
    abs(date_diff('minute', t, local_time(t))) % 60);
CREATE OR REPLACE MACRO local_text(t) AS strftime(local_time(t), '%Y-%m-%d %H:%M:%S') || if(changes(), offset_text(t), '');
CREATE OR REPLACE MACRO iso_text(t) AS strftime(local_time(t), '%Y-%m-%dT%H:%M:%S.%g') || offset_text(t);
CREATE OR REPLACE MACRO one_digit(x) AS coalesce(printf('%.1f', x), '-');
CREATE OR REPLACE MACRO percent(x) AS CASE WHEN x > 0 AND x < 0.005 THEN '<1 %' WHEN x < 1 AND x > 0.995 THEN '>99 %'
    ELSE printf('%.0f %%', 100 * x) END;
CREATE OR REPLACE MACRO quantile_text(x, se, low, high) AS coalesce(printf('%.1f ± %.1f (%.1f to %.1f)', x, se, low, high), '-');
