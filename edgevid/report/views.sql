-- What a report shows of the camera in the variable `one`: title | note, then a query of texts and numbers.
-- Tables without rows are left out; the first column is a name.

-- Summary |
SELECT value, what FROM (
    SELECT 0 AS k, sum(count)::VARCHAR AS value, 'tracks' AS what FROM counts
        WHERE camera = getvariable('one') AND start IS NULL AND line IS NULL UNION ALL
    SELECT 1, percent(any_value(observed)), 'observed of ' || local_text(min(a)) || ' to ' || local_text(max(b))
        FROM coverage WHERE camera = getvariable('one') AND start IS NULL UNION ALL
    SELECT unnest([2, 3, 4]), unnest([printf('%.1f ± %.1f', v50, v50_se), printf('%.1f ± %.1f', v85, v85_se), percent(abstained)]),
        unnest(['V50, ' || getvariable('unit'), 'V85, ' || getvariable('unit'), 'of tracks without a speed'])
        FROM speeds WHERE camera = getvariable('one') AND start IS NULL AND part = 'all' UNION ALL
    SELECT 5, count(*)::VARCHAR, 'above the speed limit' FROM e
        WHERE camera = getvariable('one') AND kind = 'speed-limit' HAVING count(*) > 0 UNION ALL
    SELECT 6, printf('%.0f s', sum(epoch(b) - epoch(a))), 'observed by two runs at once: counted twice' FROM observed
        WHERE camera = getvariable('one') AND runs > 1 HAVING sum(epoch(b) - epoch(a)) > 1)
WHERE value IS NOT NULL ORDER BY k

-- Counts | An object that is lost and found again is two tracks; a track crosses a line once per direction.
PIVOT (SELECT coalesce(line || ' ' || direction, 'all tracks') AS crossed, unnest(['all', coalesce("class", 'unknown')]) AS
    "class", count FROM counts WHERE camera = getvariable('one') AND start IS NULL)
ON "class" USING coalesce(sum(count), 0)::BIGINT ORDER BY crossed = 'all tracks', crossed

-- Speeds, {unit} | ± is one standard error, in brackets is the 95 % interval; - where there are too few.
SELECT coalesce(part, 'unknown') AS "of", tracks, measured, quantile_text(v50, v50_se, v50_low, v50_high) AS V50,
    quantile_text(v85, v85_se, v85_low, v85_high) AS V85, percent(abstained) AS "no speed"
FROM speeds WHERE camera = getvariable('one') AND start IS NULL ORDER BY part <> 'all', tracks DESC

-- Why there is no speed |
SELECT reason, tracks FROM no_speed WHERE camera = getvariable('one') AND start IS NULL ORDER BY tracks DESC

-- Zones: seconds inside, and how many are inside | 95 %: of the stays, and of the time.
SELECT zone, entered, one_digit(stay_mean) AS "mean, s", one_digit(stay_median) AS median, one_digit(stay_p95) AS "95 %",
    one_digit(stay_max) AS longest, printf('%.2f', inside_mean) AS "inside: mean", inside_p95 AS "95 % ", inside_max AS most
FROM zones WHERE camera = getvariable('one') AND start IS NULL ORDER BY zone

-- From (rows) to (columns) | The first and the last place that a track touched: a zone entered, or a line crossed.
PIVOT (SELECT "from", coalesce("to", 'no other') AS "to", count FROM ways WHERE camera = getvariable('one'))
ON "to" USING coalesce(sum(count), 0)::BIGINT ORDER BY "from"

-- Incidents by kind |
SELECT kind, count(*) AS count, max(seconds)::BIGINT AS "longest, s" FROM incidents WHERE camera = getvariable('one')
GROUP BY kind ORDER BY count DESC

-- The longest incidents |
SELECT local_text(start) AS "from", local_text("end") AS "to", seconds::BIGINT AS seconds, kind AS what, place, what AS details
FROM (FROM incidents WHERE camera = getvariable('one') ORDER BY seconds DESC LIMIT 25) ORDER BY start

-- Camera away |
SELECT local_text(start) AS "from", local_text("end") AS "to", seconds::BIGINT AS seconds, reason AS what FROM (
    FROM gaps WHERE camera = getvariable('one') ORDER BY seconds DESC LIMIT 25) ORDER BY start

-- By interval | * not whole: the camera was away for a part of it.
WITH c AS (PIVOT (SELECT start, coalesce(line || ' ' || direction, 'all tracks') AS crossed, count FROM counts
        WHERE camera = getvariable('one') AND start IS NOT NULL) ON crossed USING coalesce(sum(count), 0)::BIGINT),
    o AS (FROM coverage WHERE camera = getvariable('one') AND start IS NOT NULL AND observed > 0)
SELECT local_text(o.start) AS "from", percent(observed) AS observed, COLUMNS(c.* EXCLUDE (start)) || if(observed < 0.995, '*', ''),
    coalesce(printf('%.1f ± %.1f', v50, v50_se), '-') AS V50, coalesce(printf('%.1f ± %.1f', v85, v85_se), '-') AS V85,
    coalesce(percent(abstained), '-') AS "no speed"
FROM o LEFT JOIN c USING (start) LEFT JOIN speeds s ON s.camera = o.camera AND s.start = o.start AND part = 'all'
ORDER BY o.start
