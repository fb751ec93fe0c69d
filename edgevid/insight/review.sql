-- The database of decisions. Rows are added, never changed; an undo is a row that names the batch it undoes.
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch TEXT NOT NULL,                -- What one key press decided, of one item or of several
    item TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    label TEXT NOT NULL,                -- A class, '(none of these)' or '(cannot tell)'
    utc TEXT NOT NULL,
    blind INTEGER NOT NULL,             -- Whether the model's answer was hidden
    pass INTEGER NOT NULL,              -- 2: of what was relabeled, the first answer hidden
    undoes TEXT NOT NULL DEFAULT '',
    UNIQUE (batch, item));              -- A request that is sent twice counts once
CREATE INDEX IF NOT EXISTS decisions_by_item ON decisions (item);
CREATE INDEX IF NOT EXISTS decisions_by_undoes ON decisions (undoes);
CREATE TRIGGER IF NOT EXISTS decisions_are_not_changed BEFORE UPDATE ON decisions
    BEGIN SELECT RAISE(ABORT, 'decisions are added, never changed'); END;
CREATE TRIGGER IF NOT EXISTS decisions_are_not_deleted BEFORE DELETE ON decisions
    BEGIN SELECT RAISE(ABORT, 'decisions are added, never deleted'); END;

CREATE VIEW IF NOT EXISTS effective AS
    SELECT * FROM decisions d WHERE undoes = '' AND NOT EXISTS (SELECT 1 FROM decisions u WHERE u.undoes = d.batch);

-- Undoes a reviewer's last batch that is not undone; sent twice it undoes one.
CREATE VIEW IF NOT EXISTS undos AS SELECT batch, reviewer, utc FROM decisions WHERE undoes <> '';
CREATE TRIGGER IF NOT EXISTS undo INSTEAD OF INSERT ON undos BEGIN
    INSERT INTO decisions SELECT NULL, NEW.batch, item, reviewer, '', NEW.utc, blind, pass, batch FROM effective
    WHERE batch = (SELECT batch FROM effective WHERE reviewer = NEW.reviewer ORDER BY id DESC LIMIT 1)
        AND NOT EXISTS (SELECT 1 FROM decisions WHERE batch = NEW.batch);
    END;

-- The last word of each reviewer in each pass.
CREATE VIEW IF NOT EXISTS votes AS
    SELECT item, reviewer, pass, label, blind, utc, max(id) AS id FROM effective GROUP BY item, reviewer, pass;

-- What more than half of the votes on an item state; a disputed item has no row.
CREATE VIEW IF NOT EXISTS answers AS
    SELECT item, label FROM (
        SELECT item, label, count(*) AS n, sum(count(*)) OVER (PARTITION BY item) AS total
        FROM votes GROUP BY item, label)
    WHERE 2 * n > total;

CREATE VIEW IF NOT EXISTS pairs AS
    SELECT CASE a.reviewer WHEN b.reviewer THEN 'first and second pass' ELSE 'two reviewers' END AS kind,
        a.label AS first, b.label AS second
    FROM votes a JOIN votes b ON a.item = b.item AND (a.reviewer, a.pass) < (b.reviewer, b.pass);

-- Observed agreement, and Cohen's kappa (1960): that above chance; NULL where all answers are the same.
CREATE VIEW IF NOT EXISTS agreement AS
    WITH observed AS (SELECT kind, count(*) AS n, avg(first = second) AS share FROM pairs GROUP BY kind),
    marginals AS (
        SELECT a.kind, sum(a.n * b.n) AS products
        FROM (SELECT kind, first AS label, count(*) AS n FROM pairs GROUP BY 1, 2) a
        JOIN (SELECT kind, second AS label, count(*) AS n FROM pairs GROUP BY 1, 2) b USING (kind, label)
        GROUP BY a.kind)
    SELECT kind, n AS pairs, share, kappa, printf('%s: %d items, agreement %.1f %%, Cohen''s kappa %s', kind, n,
        100 * share, coalesce(printf('%.2f', kappa), 'undefined: all answers are the same')) AS text
    FROM (SELECT *, (share - chance) / nullif(1 - chance, 0) AS kappa
        FROM (SELECT o.*, coalesce(products, 0) * 1.0 / (n * n) AS chance FROM observed o LEFT JOIN marginals USING (kind)));

-- Of this program alone: what there is to review, as the descriptions state it.
CREATE TEMP TABLE found (id TEXT PRIMARY KEY, about TEXT);
CREATE TEMP TABLE items (
    id TEXT PRIMARY KEY, task TEXT, source TEXT, camera TEXT, run TEXT, track INTEGER, utc TEXT, time_s REAL, reason TEXT,
    label TEXT, confidence REAL, names TEXT, scores TEXT, crop TEXT, film TEXT, clip TEXT, times TEXT, rate REAL, draw REAL,
    "group" TEXT);  -- The id of the item that it looks like

-- The sample of the audit. Where runs had different rates it is thinned to the lowest.
CREATE TEMP VIEW sample AS
    SELECT i.*, nullif(a.label, '(cannot tell)') AS answer, lowest.rate AS drawn_with
    FROM items i JOIN (SELECT min(rate) AS rate FROM items WHERE rate > 0) lowest ON i.draw < lowest.rate
    LEFT JOIN answers a ON a.item = i.id
    WHERE i.rate > 0 AND i.reason = 'OK';
CREATE TEMP VIEW audit AS
    SELECT *, printf('Audited: %,d of about %,d verdicts, each drawn with probability %g, %s to %s: %d wrong, %d undecided, '
        || '%d decided without the model''s answer.', sampled, CAST(round(sampled / rate) AS INTEGER), rate, first, last,
        wrong, undecided, blind) AS text
    FROM (SELECT count(*) AS sampled, coalesce(sum(answer <> label), 0) AS wrong,
            coalesce(sum(answer IS NULL), 0) AS undecided, max(drawn_with) AS rate,
            coalesce(sum(answer IS NOT NULL AND NOT EXISTS (SELECT 1 FROM votes WHERE item = s.id AND NOT blind)), 0) AS blind,
            replace(substr(min(utc), 1, 16), 'T', ' ') AS first, replace(substr(max(utc), 1, 16), 'T', ' ') AS last
        FROM sample s);

-- Ratings of events, each an item "event~task~track~label": chosen by hand, so they are no sample, and no labels.
CREATE TEMP VIEW ratings AS SELECT item, label, reviewer FROM votes WHERE label IN ('(right)', '(wrong)') ORDER BY id;
CREATE TEMP VIEW agreements AS
    SELECT text FROM agreement UNION ALL
    SELECT printf('Ratings of events: %d right, %d wrong.', sum(label = '(right)'), sum(label = '(wrong)')) AS text
    FROM ratings HAVING count(*) > 0;

-- What can be trained on: agreed labels that are classes. One hour of one camera is one scene.
CREATE TEMP VIEW labeled AS
    SELECT i.crop AS path, a.label, i.camera || ' ' || substr(coalesce(nullif(i.utc, ''), i.run), 1, 13) AS "group",
        i.task, i.source, i.camera, i.run, i.track, i.utc, i.reason, i.label AS model_label, i.confidence, i.film, i.times,
        (SELECT count(*) FROM votes WHERE item = i.id) AS votes, (SELECT min(blind) FROM votes WHERE item = i.id) AS blind
    FROM items i JOIN answers a ON a.item = i.id WHERE a.label NOT IN ('(none of these)', '(cannot tell)');

-- The second pass: what was relabeled, and as many that were not, so that being in it tells nothing.
CREATE TEMP VIEW second_pass AS
    WITH first AS (
        SELECT i.id, i.draw, max(v.label <> i.label) AS relabeled
        FROM items i JOIN votes v ON v.item = i.id AND v.pass = 1 GROUP BY i.id)
    SELECT id FROM first WHERE relabeled UNION ALL
    SELECT id FROM (
        SELECT id FROM first WHERE NOT relabeled ORDER BY draw, id LIMIT (SELECT total(relabeled) FROM first));
